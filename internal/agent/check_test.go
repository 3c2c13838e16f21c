package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"framekeeper/internal/cli"
	"framekeeper/internal/status"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/camera/v4l2"
)

func checkConfig() camera.Config {
	cam := camera.Default()
	cam.Name, cam.Source = "cam1", "gst:rtspsrc location=rtsp://u:secret@h/x ! appsink"
	return cam
}

// nextUntil is a source whose Next returns when released, whatever its ctx says.
type nextUntil struct{ release <-chan struct{} }

func (s nextUntil) Next(context.Context, *camera.Frame) error { <-s.release; return camera.ErrNoData }
func (s nextUntil) Info() camera.Info                         { return camera.Info{} }
func (s nextUntil) Close() error                              { return nil }

func TestCheckEndsWhenTheDriverDoesNot(t *testing.T) {
	for name, inOpen := range map[string]bool{"in open": true, "in Next": false} {
		for _, signalled := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					release := make(chan struct{})
					defer close(release)
					open := func(context.Context, camera.Config) (camera.Source, error) {
						if inOpen {
							<-release
							return nil, camera.ErrNoDevice
						}
						return nextUntil{release}, nil
					}
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					want, says := 14*time.Second+checkGrace, "after 14s"
					if signalled {
						time.AfterFunc(3*time.Second, cancel)
						want, says = 3*time.Second+checkGrace, "interrupted"
					}
					start := time.Now()
					_, err := checkWith(ctx, checkConfig(), open, 14*time.Second)
					if took := time.Since(start); !errors.Is(err, camera.ErrHung) || took != want {
						t.Fatalf("got %v after %v, want ErrStuck after %v", err, took, want)
					}
					if got := err.Error(); !strings.Contains(got, says) || !strings.Contains(got, "gst:rtspsrc …") || strings.Contains(got, "secret") {
						t.Errorf("got %q, want it to say %q and the source without its password", got, says)
					}
					if exitCode(err) != status.ExitCamera {
						t.Errorf("exit code %d, want %d", exitCode(err), status.ExitCamera)
					}
				})
			})
		}
	}
}

func TestCheckPrintsWhatTheCameraGives(t *testing.T) {
	cam := checkConfig()
	cam.Source = "test:"
	var out bytes.Buffer
	if err := checkAll(t.Context(), []camera.Config{cam}, defaultOutputLimit, false, &out); err != nil || !strings.Contains(out.String(), "gives 1280x720") {
		t.Errorf("got %q, %v, want a line with the size", &out, err)
	}
}

func TestDescribeDevice(t *testing.T) {
	fast := []v4l2.Rate{{Min: 30, Max: 30}, {Min: 15, Max: 15}}
	var b strings.Builder
	describeDevice(&b, &v4l2.Device{
		Path: "/dev/video2", Name: "HD Webcam", Driver: "uvcvideo", Bus: "usb-1", Serial: "A1", USBPort: "1-2",
		Links: []string{"/dev/v4l/by-id/x", "/dev/v4l/by-path/y"}, Source: "/dev/v4l/by-id/x",
		Formats: []v4l2.Format{
			{Name: "MJPG", Text: "Motion-JPEG", Usable: true, Sizes: []v4l2.Size{
				{MinWidth: 640, MinHeight: 480, MaxWidth: 640, MaxHeight: 480, Rates: fast},
				{MinWidth: 1280, MinHeight: 720, MaxWidth: 1280, MaxHeight: 720, Rates: fast},
				{MinWidth: 16, MinHeight: 16, MaxWidth: 1920, MaxHeight: 1080, Rates: []v4l2.Rate{{Min: 1, Max: 60}}},
			}},
			{Name: "H264", Text: "H.264", Sizes: []v4l2.Size{{}}}, {Name: "S561"},
		},
		Controls: []v4l2.Control{
			{Name: "exposure_time_absolute", Aliases: []string{"exposure"}, Min: 3, Max: 2047, Default: 250, Value: 12, Note: "inactive"},
			{Name: "reset", Note: "button"},
		},
	})
	want := `/dev/video2  HD Webcam  (driver uvcvideo, bus usb-1, serial A1, USB port 1-2)
  source = "/dev/v4l/by-id/x"
  also /dev/v4l/by-path/y
  MJPG Motion-JPEG
       640x480 1280x720 at 30, 15 fps
       16x16 to 1920x1080 at 1 to 60 fps
  not for cam-agent: H264 S561
  controls
    exposure_time_absolute (or exposure) = 12: 3 to 2047, default 250, inactive
    reset: a button, any number presses it
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &b, want)
	}
}

func TestHelp(t *testing.T) {
	var out, stderr bytes.Buffer
	if err := Program().Run(t.Context(), []string{"--help"}, &out, &stderr); err != nil || stderr.Len() > 0 {
		t.Fatalf("got %v and %q on standard error, want neither", err, &stderr)
	}
	if got := out.String(); !strings.Contains(got, "Usage:\n  cam-agent ") || !strings.Contains(got, "--list-devices") {
		t.Errorf("got %q, want a usage text with the flags", got)
	}
	var usage *cli.UsageError
	if err := Program().Run(t.Context(), []string{"--nonsense"}, &out, &stderr); !errors.As(err, &usage) || !strings.Contains(err.Error(), "--help") || stderr.Len() > 0 {
		t.Errorf("got %v and %q on standard error, want one usage error that names --help", err, &stderr)
	}
}

// A source's own timeout is its own trouble, and its text is shown; the check's
// is reported with what the source has seen.
func TestCheckSaysWhoseTimeItWas(t *testing.T) {
	for name, c := range map[string]struct {
		limit time.Duration
		err   error
		says  string
	}{
		"the source's": {time.Hour, fmt.Errorf("no answer within 5s: %w", context.DeadlineExceeded), "no answer within 5s"},
		"the check's":  {time.Nanosecond, fmt.Errorf("%w: %w", context.DeadlineExceeded, camera.Symptom("it sends H.264")), "within 1ns: gst:rtspsrc …: it sends H.264"},
	} {
		t.Run(name, func(t *testing.T) {
			open := func(ctx context.Context, _ camera.Config) (camera.Source, error) {
				if c.limit < time.Second {
					<-ctx.Done()
				}
				return nil, c.err
			}
			if _, err := checkWith(t.Context(), checkConfig(), open, c.limit); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

// burst is a source that has frames waiting when it is opened, as a network
// camera has, and then gives one each interval.
type burst struct {
	waiting  int
	interval time.Duration
}

func (s *burst) Next(context.Context, *camera.Frame) error {
	if s.waiting--; s.waiting < 0 {
		time.Sleep(s.interval)
	}
	return nil
}
func (s *burst) Info() camera.Info { return camera.Info{} }
func (s *burst) Close() error      { return nil }

func TestCheckMeasuresTheCamerasOwnRate(t *testing.T) {
	for want, src := range map[float64]*burst{
		25:  {waiting: 40, interval: 40 * time.Millisecond},
		500: {interval: 2 * time.Millisecond},
		0.1: {waiting: 1, interval: 10 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			fps, err := measureRate(t.Context(), src, &camera.Frame{})
			if err != nil || fps < want*0.99 || fps > want*1.01 {
				t.Errorf("measured %v fps, %v, want %v", fps, err, want)
			}
		})
	}
}
