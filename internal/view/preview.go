//go:build !cgo || noopencv

package view

import "framekeeper/pkg/camera"

// newPreview uses the standard library: it takes ten times as long as libjpeg-turbo.
func newPreview() *camera.Preview { return camera.NewPreview(camera.Default(), nil, nil) }
