//go:build noopencv

package agent

import (
	"context"
	"fmt"

	"framekeeper/pkg/camera"
)

func openOpenCV(context.Context, camera.Config) (camera.Source, error) {
	return nil, fmt.Errorf("%w: this source needs OpenCV, and this is the build without it (tag noopencv); "+
		"build it with scripts/build.sh, which installs OpenCV", camera.ErrUnsupported)
}

// jpegEncoder is what makes this build's JPEGs; nil is the standard library.
func jpegEncoder() camera.JPEGFunc { return nil }

// newPreview makes this build's JPEGs for people.
func newPreview(c camera.Config) *camera.Preview { return camera.NewPreview(c, nil, nil) }
