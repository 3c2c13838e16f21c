//go:build !cgo || noopencv

package turbojpeg

import (
	"fmt"

	"framekeeper/pkg/camera"
)

// Encode refuses: this build has no libjpeg-turbo.
func (e *Encoder) Encode([]byte, *camera.Frame, int) ([]byte, error) {
	return nil, fmt.Errorf("encode JPEG: %w: built without libjpeg-turbo (tag noopencv, or CGO_ENABLED=0)", camera.ErrUnsupported)
}
