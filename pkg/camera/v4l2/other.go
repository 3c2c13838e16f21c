//go:build !linux

package v4l2

import (
	"context"
	"fmt"
	"runtime"

	"framekeeper/pkg/camera"
)

// Open refuses: there is V4L2 on Linux only.
func Open(_ context.Context, cfg camera.Config) (camera.Source, error) {
	return nil, fmt.Errorf("%w: source %s: V4L2 is Linux's, and this is %s", camera.ErrUnsupported, camera.RedactSource(cfg.Source), runtime.GOOS)
}

// Devices refuses: there is V4L2 on Linux only.
func Devices() (cameras []Device, others []error, err error) {
	return nil, nil, fmt.Errorf("%w: V4L2 is Linux's, and this is %s", camera.ErrUnsupported, runtime.GOOS)
}
