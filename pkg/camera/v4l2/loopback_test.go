//go:build device

package v4l2

import (
	"bytes"
	"image/jpeg"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"framekeeper/pkg/camera"
)

// loopback is a camera that sends what ffmpeg makes: the only one here with JPEGs.
// FRAMEKEEPER_LOOPBACK_DEVICE names its node, /dev/video9 by default.
func loopback(t testing.TB, codec ...string) string {
	t.Helper()
	path := os.Getenv("FRAMEKEEPER_LOOPBACK_DEVICE")
	if path == "" {
		path = "/dev/video9"
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no v4l2loopback here (%v): run this test under scripts/camera-vm.sh --loopback", err)
	}
	args := append([]string{"-nostdin", "-loglevel", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=15"}, codec...)
	feed := exec.Command("ffmpeg", append(args, "-f", "v4l2", path)...)
	var said bytes.Buffer
	feed.Stderr = &said
	if err := feed.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = feed.Wait() }()
	t.Cleanup(func() { _ = feed.Process.Kill(); <-ended })
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if d, err := openNode(path); err == nil {
			fed := len(d.formatNames()) > 0
			_ = d.close()
			if fed {
				return path
			}
		}
		select {
		case <-ended:
			t.Fatalf("ffmpeg has ended: %s", &said)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not become a camera: %s", path, &said)
		}
	}
}

func TestJPEGsPass(t *testing.T) {
	cfg := configFor(loopback(t, "-c:v", "mjpeg", "-q:v", "3"))
	cfg.Width, cfg.Height, cfg.FPS, cfg.Format = 1280, 720, 15, camera.FormatMJPEG
	s := mustOpen(t, cfg)
	if i := s.Info(); i.Format != camera.MJPEG || i.Width != 1280 || !strings.HasPrefix(i.Driver, "v4l2 v4l2") {
		t.Errorf("granted %+v", i)
	}
	var f camera.Frame
	for range 5 {
		mustNext(t, s, &f)
		m, err := jpeg.Decode(bytes.NewReader(f.Data))
		if err != nil || m.Bounds().Dx() != 1280 || f.Width != 1280 || f.Height != 720 {
			t.Fatalf("frame of %dx%d, %d bytes: %v", f.Width, f.Height, len(f.Data), err)
		}
	}
	t.Logf("%+v, a frame has %d bytes, %+v", s.Info(), len(f.Data), s.Defects())
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func BenchmarkNextMJPEG(b *testing.B) {
	cfg := configFor(loopback(b, "-c:v", "mjpeg", "-q:v", "3"))
	cfg.Width, cfg.Height, cfg.FPS, cfg.Format = 1280, 720, 15, camera.FormatMJPEG
	benchmarkNext(b, cfg)
}
