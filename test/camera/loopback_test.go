package camera

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"framekeeper/internal/testkit/proctest"
	"framekeeper/pkg/camera"
)

// passthrough feeds a camera that gives JPEGs: each that comes out on Redis is,
// byte for byte, one that was fed in. Then the feed is cut off, as when a camera
// hangs, and begun again.
func (w *world) passthrough(t *testing.T) {
	const pictures = 30
	dir := t.TempDir()
	w.run(t, "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x240", "-frames:v", "30",
		"-c:v", "mjpeg", "-q:v", "4", filepath.Join(dir, "%03d.jpg"))
	fed := map[[32]byte]bool{}
	files, err := filepath.Glob(filepath.Join(dir, "*.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		fed[sha256.Sum256(data)] = true
	}
	if len(fed) != pictures {
		t.Fatalf("%d different pictures, want %d", len(fed), pictures)
	}
	feeder := w.feed(t, dir)
	s := w.stage(t, setup{source: w.loopback, width: 320, height: 240, fps: 5, format: "mjpeg", reopens: 20})
	t.Run("byte for byte", func(t *testing.T) { s.in(t).identical(fed, pictures/3) })
	refeed := func(*scene) { feeder = w.feed(t, dir) } // until all rows are over
	t.Run("feed cut off", func(t *testing.T) {
		s.in(t).runFault(fault{
			name: "feed of v4l2loopback cut off", lasts: time.Second, reason: camera.ErrNoData.Error(), notice: noticeStall, back: feedSoon,
			begin: func(s *scene) { _ = feeder.End(syscall.SIGKILL) },
			end:   refeed,
		})
	})
	t.Run("byte for byte again", func(t *testing.T) { s.in(t).identical(fed, pictures/3) })
}

// feed begins to write the pictures into the device, over and over. Slowly: the
// writer's and the reader's buffers are the same, and a reader that is late by
// all of them sees one overwritten.
func (w *world) feed(t *testing.T, dir string) *proctest.Process {
	t.Helper()
	p, err := proctest.Spawn(dir, nil, "ffmpeg", "-v", "error", "-re", "-loop", "1", "-framerate", "5", "-i", "%03d.jpg",
		"-c:v", "copy", "-f", "v4l2", w.loopback)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.End(syscall.SIGKILL) })
	deadline := time.Now().Add(patient)
	for !strings.Contains(w.run(t, "v4l2-ctl", "-d", w.loopback, "--list-formats"), "MJPG") {
		if time.Now().After(deadline) {
			t.Fatalf("ffmpeg does not feed %s: %s", w.loopback, p.Said())
		}
		time.Sleep(50 * time.Millisecond)
	}
	return p
}

// identical waits for some different pictures and looks at all that came.
func (s *scene) identical(fed map[[32]byte]bool, different int) {
	began := time.Now()
	seen := map[[32]byte]bool{}
	from := 0
	s.watcher.await(s.Context(), patient, func() bool {
		for ; from < len(s.watcher.arrivals); from++ {
			if arrival := s.watcher.arrivals[from]; arrival.captured().After(began) {
				seen[sha256.Sum256(arrival.Image())] = true
			}
		}
		return len(seen) >= different
	})
	if len(seen) < different {
		s.Errorf("only %d different pictures came within %s", len(seen), patient)
	}
	for sum := range seen {
		if !fed[sum] {
			s.Errorf("a picture came that was never fed: sha256 %x", sum)
		}
	}
}
