//go:build !noopencv

package opencv

import (
	"fmt"
	"testing"
	"time"

	"gocv.io/x/gocv"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/camera/testsrc"
	"framekeeper/pkg/camera/turbojpeg"
	"framekeeper/pkg/frame"
)

// opencvJPEG is OpenCV's encoder, which the agent does without: see
// BenchmarkJPEG for why.
func opencvJPEG(dst []byte, f *camera.Frame, quality int) ([]byte, error) {
	mat, err := gocv.NewMatFromBytes(f.Height, f.Width, gocv.MatTypeCV8UC3, f.Data)
	if err != nil {
		return nil, err
	}
	defer func() { _ = mat.Close() }()
	buf, err := gocv.IMEncodeWithParams(gocv.JPEGFileExt, mat, []int{gocv.IMWriteJpegQuality, quality})
	if err != nil {
		return nil, err
	}
	defer buf.Close()
	return append(dst, buf.GetBytes()...), nil
}

// pattern is one frame of the test pattern, as a webcam would send it too.
func pattern(b *testing.B, w, h int) (bgr, yuyv *camera.Frame) {
	b.Helper()
	cfg := config("test:")
	cfg.Width, cfg.Height = w, h
	src, err := testsrc.Open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = src.Close() }()
	bgr = &camera.Frame{}
	if err := src.Next(b.Context(), bgr); err != nil {
		b.Fatal(err)
	}
	yuyv = &camera.Frame{Format: camera.YUYV, Width: w, Height: h}
	for i := 0; i < len(bgr.Data); i += 6 {
		y0, cb, cr := videoRange(bgr.Data[i:])
		y1, _, _ := videoRange(bgr.Data[i+3:])
		yuyv.Data = append(yuyv.Data, y0, cb, y1, cr)
	}
	return bgr, yuyv
}

// videoRange is a BGR pixel in BT.601.
func videoRange(p []byte) (y, cb, cr byte) {
	b, g, r := int(p[0]), int(p[1]), int(p[2])
	return byte(16 + (66*r+129*g+25*b)>>8), byte(128 + (-38*r-74*g+112*b)>>8), byte(128 + (112*r-94*g-18*b)>>8)
}

// BenchmarkJPEG compares what could make the agent's JPEGs, from both formats a
// camera may give, in processor time. All take turns on the same frame; turbojpeg
// from BGR is the floor of the ratios.
//
//	go test -run - -bench JPEG ./pkg/camera/opencv
func BenchmarkJPEG(b *testing.B) {
	for _, size := range []struct{ w, h int }{{640, 480}, {1280, 720}, {1920, 1080}} {
		b.Run(fmt.Sprintf("%dx%d", size.w, size.h), func(b *testing.B) {
			bgr, yuyv := pattern(b, size.w, size.h)
			turbo := new(turbojpeg.Encoder).Encode
			ways := []struct {
				name string
				fn   camera.JPEGFunc
				from *camera.Frame
			}{
				{"turbo", turbo, bgr}, {"turbo-yuyv", turbo, yuyv},
				{"opencv", opencvJPEG, bgr}, {"stdlib", nil, bgr}, {"stdlib-yuyv", nil, yuyv},
			}
			encoders, took := make([]*camera.Encoder, len(ways)), make([]time.Duration, len(ways))
			for i, way := range ways {
				encoders[i] = camera.NewEncoder(camera.Config{Encoding: frame.JPEG, Quality: 80}, way.fn)
			}
			buffers := make([][]byte, len(ways))
			for b.Loop() {
				for i, way := range ways {
					began := processTime(b)
					img, err := encoders[i].Encode(b.Context(), buffers[i], way.from)
					if err != nil {
						b.Fatal(err)
					}
					took[i] += processTime(b) - began
					buffers[i] = img.Data
				}
			}
			for i, way := range ways {
				b.ReportMetric(float64(took[i].Microseconds())/float64(b.N), "µs/"+way.name)
				b.ReportMetric(float64(took[i])/float64(took[0]), "ratio/"+way.name)
			}
			b.ReportMetric(0, "ns/op") // of all together: says nothing
		})
	}
}
