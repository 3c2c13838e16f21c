//go:build !noopencv

package opencv

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/jpeg"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"gocv.io/x/gocv"

	"framekeeper/internal/testkit/striptest"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/camera/testsrc"
	"framekeeper/pkg/camera/turbojpeg"
	"framekeeper/pkg/frame"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config(source string) camera.Config {
	c := camera.Default()
	c.Name, c.Source = "cam", source
	return c
}

// makeVideo writes n numbered frames of 320x240 as a video of that rate.
func makeVideo(t testing.TB, name string, fps string, n int) string {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("no ffmpeg here to make a video file with: apt install ffmpeg")
	}
	cfg := config("test:")
	cfg.Width, cfg.Height, cfg.FPS = 320, 240, 1000
	src, err := testsrc.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = src.Close() }()
	var raw bytes.Buffer
	var f camera.Frame
	for range n {
		if err := src.Next(t.Context(), &f); err != nil {
			t.Fatal(err)
		}
		raw.Write(f.Data)
	}
	path := filepath.Join(t.TempDir(), name)
	cmd := exec.CommandContext(t.Context(), ffmpeg, "-v", "error", "-f", "rawvideo", "-pix_fmt", "bgr24",
		"-s", "320x240", "-r", fps, "-i", "-", "-c:v", "ffv1", "-pix_fmt", "bgr0", "file:"+path)
	cmd.Stdin = &raw
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	return path
}

func mustOpen(t testing.TB, cfg camera.Config) camera.Source {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// number reads the number drawn in a frame.
func number(t *testing.T, f *camera.Frame) uint64 {
	t.Helper()
	n, err := striptest.ReadNumber(f.Data, f.Width, f.Height)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestFileLoopsAtItsOwnRate(t *testing.T) {
	path := makeVideo(t, "ten fps, or 100%?.mkv", "10", 4)
	s := mustOpen(t, config("file:"+path)) // 1280x720 at 30 fps is configured and must not matter
	info := s.Info()
	if info.Width != 320 || info.Height != 240 || info.FPS != 10 || info.Latency != 100*time.Millisecond {
		t.Errorf("info %+v, want 320x240 at 10 fps with a latency of one frame", info)
	}
	var f camera.Frame
	var first uint64
	start := time.Now()
	for i := range 10 {
		if err := s.Next(t.Context(), &f); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = number(t, &f)
		} else if got := number(t, &f); i == 4 && got != first || i == 5 && got == first {
			t.Errorf("frame %d carries number %d, the file's first is %d; want it to start over after 4", i, got, first)
		}
		if f.Width != 320 || f.Height != 240 || f.Format != camera.BGR24 || f.Seq != uint64(i+1) {
			t.Errorf("frame %d: %v %dx%d seq %d", i, f.Format, f.Width, f.Height, f.Seq)
		}
	}
	// The lower bound is exact; the upper one only says it was not 30 fps
	// three times over or slower than a loaded machine is.
	if took := time.Since(start); took < 890*time.Millisecond || took > 3*time.Second {
		t.Errorf("10 frames at 10 fps took %v, want 0.9s", took)
	}
}

func TestFileWithoutLoopEnds(t *testing.T) {
	path := makeVideo(t, "clip.mkv", "200", 5)
	s := mustOpen(t, config("file:"+path+"?loop=0"))
	var f camera.Frame
	for i := range 5 {
		if err := s.Next(t.Context(), &f); err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
	}
	for range 2 {
		if err := s.Next(t.Context(), &f); !errors.Is(err, io.EOF) {
			t.Errorf("Next at the end = %v, want io.EOF", err)
		}
	}
	g := camera.NewGrabber(config("file:"+path+"?loop=0"), Open, zerolog.Nop())
	if err := g.Run(t.Context()); !errors.Is(err, camera.ErrEnded) {
		t.Errorf("Run = %v, want ErrEnded", err)
	}
	if h := g.Health(); h.Frames != 5 || h.State != camera.StateEnded {
		t.Errorf("health %+v, want ended after 5 frames", h)
	}
}

func TestFileNames(t *testing.T) {
	video := makeVideo(t, "v.mkv", "100", 2)
	dir := filepath.Dir(video)
	for _, name := range []string{"a b.mkv", "what?.mkv", "x?loop=0", "C:y.mkv", "%02d.mkv"} {
		path := filepath.Join(dir, name)
		if err := os.Link(video, path); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), config("file:"+path))
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		var f camera.Frame
		for range 3 { // so a name ending in ?loop=0 loops, being just a name
			if err := s.Next(t.Context(), &f); err != nil {
				t.Errorf("%q: %v", name, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Chdir(dir)
	mustOpen(t, config("file:v.mkv?loop=1"))
}

func TestClearErrors(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.mp4")
	if err := os.WriteFile(garbage, bytes.Repeat([]byte("this is no video "), 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty.mp4")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	huge := filepath.Join(dir, "huge.avi") // a frame takes 412 MiB as pixels, and more on the way
	if out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=gray:s=12000x12000:r=1:d=1", "-c:v", "mjpeg", huge).CombinedOutput(); err != nil {
		t.Skipf("ffmpeg is needed: %v %s", err, out)
	}
	for _, c := range []struct {
		source string
		want   error
		says   string
	}{
		{"file:" + huge, camera.ErrNoData, "12000x12000, 412 MiB each as pixels; at most 192 MiB"},
		{"file:" + dir + "/missing.mp4", camera.ErrNoDevice, "there is no file"},
		{"file:" + dir + "/missing.mp4?loop=0", camera.ErrNoDevice, "missing.mp4"},
		{"file:" + dir + "/missing.mp4?loop=2", camera.ErrNoDevice, "loop is 0"},
		{"file:rtsp://admin:secret@127.0.0.1:1/live", camera.ErrNoDevice, "without \"file:\""},
		{"file:rtsp:/admin:secret@127.0.0.1:1/live", camera.ErrNoDevice, "without \"file:\""},
		{"file:" + dir, camera.ErrNoDevice, "directory"},
		{"file:" + garbage, camera.ErrNoData, "not a video"},
		{"file:" + empty, camera.ErrNoData, "not a video"},
		{"opencv:97", camera.ErrNoDevice, "/dev/video97"},
		{"opencv:front", camera.ErrNoDevice, "opencv:N"},
		{"opencv:/dev/null", camera.ErrBusy, "not a camera"},
		{"rtsp://admin:secret@127.0.0.1:1/live", camera.ErrNoDevice, "nothing listens"},
		{"gst:nonsense password=secret ! appsink", camera.ErrNoDevice, "gst-launch"},
		{"gst:videotestsrc", camera.ErrNoDevice, "appsink"},
		{"test:", camera.ErrUnsupported, "test:"},
	} {
		s, err := Open(t.Context(), config(c.source))
		if err == nil {
			_ = s.Close()
		}
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("Open(%q) = %v, want %q saying %q", c.source, err, c.want, c.says)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("Open(%q) = %v shows the password", c.source, err)
		}
	}
}

func TestCloseEndsAPacedNext(t *testing.T) {
	s := mustOpen(t, config("file:"+makeVideo(t, "slow.mkv", "1/5", 2)))
	var f camera.Frame
	if err := s.Next(t.Context(), &f); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Next(context.Background(), &f) }()
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-done; !errors.Is(err, camera.ErrClosed) {
		t.Errorf("Next = %v, want ErrClosed", err)
	}
	if err := s.Next(t.Context(), &f); !errors.Is(err, camera.ErrClosed) {
		t.Errorf("Next after Close = %v, want ErrClosed", err)
	}
}

func TestPipeline(t *testing.T) {
	s, err := Open(t.Context(), config("gst:videotestsrc num-buffers=3 ! video/x-raw,format=BGR,width=64,height=48 ! appsink"))
	if err != nil {
		t.Skipf("no GStreamer with its base plugins here: %v", err)
	}
	defer func() { _ = s.Close() }()
	var f camera.Frame
	for range 3 {
		if err := s.Next(t.Context(), &f); err != nil {
			t.Fatal(err)
		}
		if f.Width != 64 || f.Height != 48 {
			t.Errorf("frame of %dx%d, want 64x48", f.Width, f.Height)
		}
	}
	if err := s.Next(t.Context(), &f); !errors.Is(err, camera.ErrNoData) {
		t.Errorf("Next after the last buffer = %v, want ErrNoData", err)
	}
}

// Memory of C++ is invisible to Go's collector, so a leak of a frame per read
// or per encoding shows only in the process's size.
func TestMemoryIsFlat(t *testing.T) {
	s := mustOpen(t, config("file:"+makeVideo(t, "fast.mkv", "1000", 3)))
	e := camera.NewEncoder(camera.Config{Encoding: frame.JPEG, Quality: 80}, new(turbojpeg.Encoder).Encode)
	var f camera.Frame
	var dst []byte
	work := func(n int) {
		for range n {
			if err := s.Next(t.Context(), &f); err != nil {
				t.Fatal(err)
			}
			img, err := e.Encode(t.Context(), dst, &f)
			if err != nil {
				t.Fatal(err)
			}
			dst = img.Data
		}
	}
	work(60) // 20 openings of the file
	before := residentKiB(t)
	work(300)
	// A leaked 320x240 frame is 225 KiB: 300 would be 66 MiB. Sanitizers and
	// allocators keep some memory of their own.
	if grown := residentKiB(t) - before; grown > 30<<10 {
		t.Errorf("300 frames and 100 openings grew the process by %d KiB", grown)
	}
}

func residentKiB(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skipf("no /proc here: %v", err)
	}
	fields := strings.Fields(string(data))
	pages := 0
	for _, c := range fields[1] {
		pages = pages*10 + int(c-'0')
	}
	return pages * os.Getpagesize() / 1024
}

// A stream whose images grow on the way gives none that is too large: OpenCV's own read
// fails, or the image is refused.
func TestImagesThatGrowAreRefused(t *testing.T) {
	var file bytes.Buffer
	for _, side := range []int{64, 64, 64, 8300} {
		if err := jpeg.Encode(&file, image.NewGray(image.Rect(0, 0, side, side)), nil); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "grows.mjpeg")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, config("file:"+path+"?loop=0"))
	var f camera.Frame
	var err error
	for err == nil {
		err = s.Next(t.Context(), &f)
	}
	if !errors.Is(err, errTooLarge) && !errors.Is(err, io.EOF) || f.Seq == 0 || f.Width != 64 {
		t.Errorf("got %v after frames of %dx%d", err, f.Width, f.Height)
	}
}

// What OpenCV has decoded all the same is not copied.
func TestAnImageThatIsTooLargeIsNotCopied(t *testing.T) {
	s, _ := mustOpen(t, config("file:"+makeVideo(t, "small.mkv", "10", 2))).(*Source)
	_ = s.mat.Close()
	s.mat = gocv.NewMatWithSize(8300, 8300, gocv.MatTypeCV8UC3)
	var f camera.Frame
	if err := s.copyOut(&f); !errors.Is(err, errTooLarge) || f.Data != nil {
		t.Errorf("got %v and %d bytes, want an error that names the limit", err, len(f.Data))
	}
}
