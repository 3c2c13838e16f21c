//go:build !noopencv

package opencv

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"framekeeper/internal/testkit/rtsptest"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/camera/testsrc"
	"framekeeper/pkg/camera/turbojpeg"
	"framekeeper/pkg/frame"
)

// BenchmarkCost measures what the agent's process pays for a frame of 1280x720
// at 30 fps: for having it, which it always pays, and for making it a JPEG too,
// which it pays when the frame is wanted. Servers are processes of their own and
// do not count.
//
//	go test -run - -bench Cost -benchtime 150x ./pkg/camera/opencv
func BenchmarkCost(b *testing.B) {
	if err := rtsptest.Available(); err != nil {
		b.Skip(err)
	}
	film := filepath.Join(b.TempDir(), "film.mp4")
	cmd := exec.CommandContext(b.Context(), "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=1280x720:r=30", "-frames:v", "90",
		"-c:v", "libx264", "-pix_fmt", "yuv420p", film)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Skipf("ffmpeg is needed: %v %s", err, out)
	}
	h264, mjpeg := rtsptest.H264(1280, 720, 30), rtsptest.MJPEG(1280, 720, 30)
	for _, c := range []struct{ name, source, serve string }{
		{"test", "test:", ""},
		{"file-h264", "file:" + film, ""},
		{"rtsp-h264", "", h264},
		{"rtsp-mjpeg", "", mjpeg},
		{"gst-videotestsrc", "gst:videotestsrc is-live=true ! video/x-raw,format=BGR,width=1280,height=720,framerate=30/1 ! appsink", ""},
		{"gst-rtsp-mjpeg", "gst:rtspsrc latency=0 protocols=tcp location=URL ! rtpjpegdepay ! jpegdec ! videoconvert ! appsink", mjpeg},
	} {
		b.Run(c.name, func(b *testing.B) {
			source := c.source
			if c.serve != "" {
				url := rtsptest.Start(b, c.serve, "", "").URL("", "")
				if source == "" {
					source = url
				}
				source = strings.Replace(source, "URL", url, 1)
			}
			cost(b, config(source))
		})
	}
}

func cost(b *testing.B, cfg camera.Config) {
	b.Helper()
	open := camera.Opener(Open)
	if cfg.Source == "test:" {
		open = testsrc.Open
	}
	src, err := open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = src.Close() }()
	e := camera.NewEncoder(camera.Config{Encoding: frame.JPEG, Quality: 85}, new(turbojpeg.Encoder).Encode)
	var f camera.Frame
	var dst []byte
	for range 30 { // opening, and what had piled up
		if err := src.Next(b.Context(), &f); err != nil {
			b.Fatal(err)
		}
	}
	var reading, encoding time.Duration
	for b.Loop() {
		began := processTime(b)
		if err := src.Next(b.Context(), &f); err != nil {
			b.Fatal(err)
		}
		read := processTime(b)
		img, err := e.Encode(b.Context(), dst, &f)
		if err != nil {
			b.Fatal(err)
		}
		dst = img.Data
		reading += read - began
		encoding += processTime(b) - read
	}
	b.ReportMetric(float64(reading.Microseconds())/float64(b.N), "µs-cpu/read")
	b.ReportMetric(float64(encoding.Microseconds())/float64(b.N), "µs-cpu/jpeg")
	b.ReportMetric(float64((reading+encoding).Microseconds())/float64(b.N)*30/1e4, "%core-at-30fps")
	b.ReportMetric(0, "ns/op") // it waits for the camera
}

// processTime is what the process has used, all its threads together.
func processTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
