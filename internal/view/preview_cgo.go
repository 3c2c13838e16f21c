//go:build cgo && !noopencv

package view

import (
	"framekeeper/pkg/camera"
	"framekeeper/pkg/camera/turbojpeg"
)

// newPreview uses libjpeg-turbo.
func newPreview() *camera.Preview {
	return camera.NewPreview(camera.Default(), new(turbojpeg.Encoder).Encode, turbojpeg.Shrink)
}
