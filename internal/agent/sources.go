package agent

import (
	"context"
	"fmt"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/camera/mjpeg"
	"framekeeper/pkg/camera/testsrc"
	"framekeeper/pkg/camera/v4l2"
)

var _ camera.Opener = openSource

// openSource opens the source a configuration names; it is the camera.Opener
// of this program. openOpenCV and jpegEncoder depend on the build.
func openSource(ctx context.Context, cfg camera.Config) (camera.Source, error) {
	name, err := camera.ParseSource(cfg.Source)
	if err != nil {
		return nil, err
	}
	switch name.Scheme {
	case camera.SchemeTest:
		return testsrc.Open(ctx, cfg)
	case camera.SchemeOpenCV, camera.SchemeFile, camera.SchemeRTSP, camera.SchemeGst:
		return openOpenCV(ctx, cfg)
	case camera.SchemeV4L2:
		return v4l2.Open(ctx, cfg)
	case camera.SchemeHTTP, camera.SchemeExec:
		return mjpeg.Open(ctx, cfg)
	}
	return nil, fmt.Errorf("%w: source %s", camera.ErrUnsupported, camera.RedactSource(cfg.Source))
}
