package agent

import (
	"context"
	"fmt"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/camera/mjpeg"
	"framekeeper/pkg/camera/testsrc"
	"framekeeper/pkg/camera/v4l2"
)

// openers has the Opener of every kind of source. openOpenCV depends on the build.
var openers = map[camera.Scheme]camera.Opener{
	camera.SchemeTest:   testsrc.Open,
	camera.SchemeV4L2:   v4l2.Open,
	camera.SchemeHTTP:   mjpeg.Open,
	camera.SchemeExec:   mjpeg.Open,
	camera.SchemeOpenCV: openOpenCV,
	camera.SchemeFile:   openOpenCV,
	camera.SchemeRTSP:   openOpenCV,
	camera.SchemeGst:    openOpenCV,
}

// openSource opens the source a configuration names; it is the camera.Opener
// of this program.
func openSource(ctx context.Context, cfg camera.Config) (camera.Source, error) {
	name, err := camera.ParseSource(cfg.Source)
	if err != nil {
		return nil, err
	}
	if open, ok := openers[name.Scheme]; ok {
		return open(ctx, cfg)
	}
	return nil, fmt.Errorf("%w: source %s", camera.ErrUnsupported, camera.RedactSource(cfg.Source))
}
