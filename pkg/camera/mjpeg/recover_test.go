package mjpeg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/jpeg"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/camera"
)

// grabbing runs a Grabber over the source until the test ends.
func grabbing(t *testing.T, cfg camera.Config) *camera.Grabber {
	t.Helper()
	g := camera.NewGrabber(cfg, Open, zerolog.New(zerolog.NewTestWriter(t)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	return g
}

// impatient is a configuration that notices within a moment and never ends.
func impatient(source string) camera.Config {
	cfg := config(source)
	cfg.StallTimeout, cfg.MaxReopens = 500*time.Millisecond, 1000
	return cfg
}

// advances waits for frames after now that are whole JPEGs.
func advances(t *testing.T, g *camera.Grabber, what string) {
	t.Helper()
	_, after := g.Newer(0)
	testkit.Eventually(t, what, func() bool {
		f, ticket := g.Newer(after + 2)
		if f == nil {
			return false
		}
		defer f.Release()
		_, err := jpeg.Decode(bytes.NewReader(f.Data))
		if err != nil {
			t.Fatalf("%s: frame %d: %v", what, ticket, err)
		}
		return true
	})
}

func stateIs(g *camera.Grabber, states ...camera.State) func() bool {
	return func() bool {
		for _, s := range states {
			if g.Health().State == s {
				return true
			}
		}
		return false
	}
}

// TestExecRecovers: a command that is stopped or killed is replaced, and the
// one before is gone.
func TestExecRecovers(t *testing.T) {
	t.Parallel()
	needs(t, "ffmpeg")
	dir := t.TempDir()
	g := grabbing(t, impatient("exec:sh -c 'echo $$ >"+dir+"/child; exec ffmpeg -v error -re -f lavfi -i testsrc=size=320x240:rate=30 -c:v mjpeg -f mjpeg -'"))
	advances(t, g, "frames come")
	for _, hurt := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
		before, reopens := pidIn(t, dir+"/child"), g.Health().Reopens
		if err := syscall.Kill(before, hurt); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "it is opened again", func() bool { return g.Health().Reopens > reopens })
		advances(t, g, "frames come again")
		if now := pidIn(t, dir+"/child"); now == before || alive(before) {
			t.Errorf("after %v: pid %d, before %d", hurt, now, before)
		}
	}
}

// server starts a real server and returns it; it is killed with the test.
func server(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program, args...) //nolint:noctx // killed below
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(cmd) })
	return cmd
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// TestHTTPRecovers: a real server is frozen, continued, killed and started
// again, and the frames come back each time.
func TestHTTPRecovers(t *testing.T) {
	t.Parallel()
	needs(t, "ffmpeg")
	address := redistest.FreeAddr(t)
	start := func() *exec.Cmd {
		return server(t, "ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=30", "-c:v", "mjpeg", "-q:v", "3",
			"-f", "mpjpeg", "-content_type", "multipart/x-mixed-replace;boundary=ffmpeg", "-listen", "1", "http://"+address+"/cam")
	}
	ff := start()
	g := grabbing(t, impatient("http://"+address+"/cam"))
	advances(t, g, "frames come")
	kill(ff) // it serves one client in its life
	testkit.Eventually(t, "the loss is seen", stateIs(g, camera.StateRetrying))
	if reason := g.Health().Reason; !strings.Contains(reason, "no frames") && !strings.Contains(reason, "no such camera") {
		t.Errorf("the reason is %q", reason)
	}
	ff = start()
	advances(t, g, "frames come from the new server")
	if err := ff.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stalls := g.Health().Stalls
	testkit.Eventually(t, "the stall is seen", func() bool { return g.Health().Stalls > stalls })
	kill(ff)
	start()
	advances(t, g, "frames come from the third server")
}

// TestUstreamer reads the server most boxes with a USB camera run; without a
// camera it serves a placeholder, as a stream and as a snapshot.
func TestUstreamer(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("ustreamer without a camera gives a frame a second; not with -short")
	}
	needs(t, "ustreamer")
	for _, path := range []string{"stream"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			port := fmt.Sprint(redistest.FreePort(t))
			start := func() *exec.Cmd {
				return server(t, "ustreamer", "--device", "/dev/no-such-camera", "--host", "127.0.0.1", "--port", port,
					"--user", "joe", "--passwd", "hunter2", "--log-level", "0")
			}
			us := start()
			cfg := impatient("http://joe:hunter2@127.0.0.1:" + port + "/" + path)
			cfg.FPS, cfg.StallTimeout = 10, 3*time.Second // without a camera a frame a second
			g := grabbing(t, cfg)
			advances(t, g, "frames come")
			if err := us.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, "the stall is seen", func() bool { return g.Health().Stalls > 0 })
			if err := us.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			advances(t, g, "frames come again")
			kill(us)
			testkit.Eventually(t, "the loss is seen", stateIs(g, camera.StateRetrying))
			start()
			advances(t, g, "frames come from the new server")
			for _, offline := range []string{"snapshot", "stream?extra_headers=1"} {
				testkit.Eventually(t, offline+" is known for a placeholder", func() bool {
					src, err := Open(t.Context(), config("http://joe:hunter2@127.0.0.1:"+port+"/"+offline))
					if err == nil {
						_ = src.Close()
					}
					return errors.Is(err, errOffline)
				})
			}
		})
	}
}
