//go:build !cgo || noopencv

package turbojpeg

import (
	"errors"
	"strings"
	"testing"

	"framekeeper/pkg/camera"
)

func TestSaysThatItIsNotBuilt(t *testing.T) {
	f := &camera.Frame{Width: 2, Height: 2, Data: make([]byte, 12)}
	_, err := new(Encoder).Encode(nil, f, 80)
	if !errors.Is(err, camera.ErrUnsupported) || !strings.Contains(err.Error(), "noopencv") {
		t.Errorf("%v, want %q and the reason", err, camera.ErrUnsupported)
	}
}
