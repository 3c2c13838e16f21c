//go:build !noopencv

package agent

import (
	"context"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/camera/opencv"
	"framekeeper/pkg/camera/turbojpeg"
)

func openOpenCV(ctx context.Context, cfg camera.Config) (camera.Source, error) {
	return opencv.Open(ctx, cfg)
}

// jpegEncoder is what makes this build's JPEGs; nil is the standard library.
func jpegEncoder() camera.JPEGFunc { return new(turbojpeg.Encoder).Encode }

// newPreview makes this build's JPEGs for people.
func newPreview(c camera.Config) *camera.Preview {
	return camera.NewPreview(c, new(turbojpeg.Encoder).Encode, turbojpeg.Shrink)
}
