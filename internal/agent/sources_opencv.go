//go:build !noopencv

package agent

import (
	"framekeeper/pkg/camera"
	"framekeeper/pkg/camera/opencv"
	"framekeeper/pkg/camera/turbojpeg"
)

var openOpenCV camera.Opener = opencv.Open

// jpegEncoder is what makes this build's JPEGs; nil is the standard library.
func jpegEncoder() camera.JPEGFunc { return new(turbojpeg.Encoder).Encode }
