//go:build !noopencv

package opencv

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit/rtsptest"
	"framekeeper/pkg/camera"
)

const options = "OPENCV_FFMPEG_CAPTURE_OPTIONS"

// freshOptions undoes what an earlier source of this process has set.
func freshOptions(t *testing.T) {
	t.Helper()
	for _, key := range []string{options, "OPENCV_FFMPEG_LOGLEVEL"} {
		t.Setenv(key, "")
		if err := os.Unsetenv(key); err != nil {
			t.Fatal(err)
		}
	}
}

func rtspServer(t *testing.T, pipeline, user, password string) *rtsptest.Server {
	t.Helper()
	if err := rtsptest.Available(); err != nil {
		t.Skip(err)
	}
	freshOptions(t)
	return rtsptest.Start(t, pipeline, user, password)
}

func TestRTSPDelivers(t *testing.T) {
	for name, pipeline := range map[string]string{"h264": rtsptest.H264(320, 240, 30), "mjpeg": rtsptest.MJPEG(320, 240, 30)} {
		t.Run(name, func(t *testing.T) {
			server := rtspServer(t, pipeline, "admin", "s3cret")
			s := mustOpen(t, config(server.URL("admin", "s3cret")))
			var f camera.Frame
			for i := range 10 {
				if err := s.Next(t.Context(), &f); err != nil {
					t.Fatal(err)
				}
				if f.Format != camera.BGR24 || f.Width != 320 || f.Height != 240 || f.Seq != uint64(i+1) {
					t.Fatalf("frame %v of %dx%d, seq %d; want bgr24 of 320x240, seq %d", f.Format, f.Width, f.Height, f.Seq, i+1)
				}
			}
			info := s.Info()
			t.Logf("%+v", info)
			if frames := info.Latency.Seconds() * info.FPS; (name == "mjpeg") != (frames < 1.5) {
				t.Errorf("latency %v at %v fps: want one frame of MJPEG, and those that the decoder holds of H.264", info.Latency, info.FPS)
			}
		})
	}
}

func TestRTSPSaysWhy(t *testing.T) {
	server := rtspServer(t, rtsptest.H264(320, 240, 30), "admin", "right")
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	for _, c := range []struct{ source, says string }{
		{server.URL("admin", "hunter2"), "refuses the user or the password"},
		{server.URL("", ""), "wants a user and a password"},
		{strings.Replace(server.URL("admin", "right"), "/live", "/nothing", 1), "path"},
		{"rtsp://admin:hunter2@127.0.0.1:1/live", "nothing listens"},
		{"rtsp://admin:hunter2@no-such-host.invalid/live", "cannot be reached"},
		{"rtsp://admin:hunter2@" + silent.Addr().String() + "/live", "does not answer within"},
		{"rtsp://admin:hunter2@:554/live", "expected rtsp://user:password@"},
	} {
		cfg := config(c.source)
		began := time.Now()
		s, err := Open(t.Context(), cfg)
		if err == nil {
			_ = s.Close()
		}
		t.Logf("after %v: %v", time.Since(began).Round(time.Millisecond), err)
		if !errors.Is(err, camera.ErrNoDevice) && !errors.Is(err, camera.ErrRefused) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Open(%q) = %v, want %q saying %q without the password", c.source, err, camera.ErrNoDevice, c.says)
		}
	}
}

// grab runs a Grabber until the test ends.
func grab(t *testing.T, cfg camera.Config) *camera.Grabber {
	t.Helper()
	g := camera.NewGrabber(cfg, Open, zerolog.New(zerolog.NewTestWriter(t)))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	return g
}

// newFrame waits for a frame above the ticket and returns its own.
func newFrame(t *testing.T, g *camera.Grabber, after uint64) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	f, ticket, err := g.Wait(ctx, after)
	if err != nil {
		t.Fatalf("%v: %+v", err, g.Health())
	}
	f.Release()
	return ticket
}

// await waits for one of these states.
func await(t *testing.T, g *camera.Grabber, states ...camera.State) {
	t.Helper()
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	for !slices.Contains(states, g.Health().State) {
		select {
		case <-g.HealthChanged():
		case <-limit.C:
			t.Fatalf("still %+v", g.Health())
		}
	}
}

// The far side is killed, or frozen while its kernel goes on answering. In both
// cases the source must be opened again and not be found stuck, whichever codec
// it is: FFmpeg waits in another place for each.
func TestRTSPComesBack(t *testing.T) {
	for codec, pipeline := range map[string]string{"h264": rtsptest.H264(320, 240, 30), "mjpeg": rtsptest.MJPEG(320, 240, 30)} {
		for _, c := range []struct {
			name       string
			hurt, heal func(*rtsptest.Server)
		}{
			{"killed", (*rtsptest.Server).Kill, (*rtsptest.Server).Restart},
			{"frozen", (*rtsptest.Server).Freeze, (*rtsptest.Server).Thaw},
		} {
			t.Run(codec+" "+c.name, func(t *testing.T) {
				server := rtspServer(t, pipeline, "", "")
				cfg := config(server.URL("", ""))
				cfg.MaxReopens = 1000
				g := grab(t, cfg)
				newFrame(t, g, newFrame(t, g, 0))
				c.hurt(server)
				began := time.Now()
				await(t, g, camera.StateStalled, camera.StateRetrying)
				t.Logf("noticed after %v: %s", time.Since(began).Round(time.Millisecond), g.Health().Reason)
				await(t, g, camera.StateRetrying) // the old connection has been given up
				last := g.Health().Frames
				c.heal(server)
				began = time.Now()
				newFrame(t, g, last)
				t.Logf("back after %v", time.Since(began).Round(time.Millisecond))
			})
		}
	}
}
