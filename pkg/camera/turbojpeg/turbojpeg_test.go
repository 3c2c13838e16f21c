//go:build !noopencv

package turbojpeg

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"framekeeper/pkg/camera"
)

var _ camera.JPEGFunc = new(Encoder).Encode

// waves is a picture with soft and with sharp detail, in colours that all have
// a place in RGB.
func waves(w, h int) *image.YCbCr {
	m := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio444)
	for y := range h {
		for x := range w {
			i := y*m.YStride + x
			m.Y[i] = byte(128 + 60*math.Sin(float64(x*y)/2000) + 20*math.Cos(float64(x)/3))
			m.Cb[i] = byte(128 + 25*math.Sin(float64(x)/30))
			m.Cr[i] = byte(128 + 25*math.Cos(float64(y)/30))
		}
	}
	return m
}

func bgrOf(m *image.YCbCr) *camera.Frame {
	f := &camera.Frame{Format: camera.BGR24, Width: m.Rect.Dx(), Height: m.Rect.Dy()}
	for i := range m.Y {
		r, g, b := color.YCbCrToRGB(m.Y[i], m.Cb[i], m.Cr[i])
		f.Data = append(f.Data, b, g, r)
	}
	return f
}

// yuyvOf is the picture as a webcam sends it, in video range.
func yuyvOf(m *image.YCbCr) *camera.Frame {
	f := &camera.Frame{Format: camera.YUYV, Width: m.Rect.Dx(), Height: m.Rect.Dy()}
	video := func(v byte, span float64) byte { return byte(math.Round(16 + float64(v)*span/255)) }
	for i := 0; i+1 < len(m.Y); i += 2 {
		f.Data = append(f.Data, video(m.Y[i], 219), video(m.Cb[i], 224), video(m.Y[i+1], 219), video(m.Cr[i], 224))
	}
	return f
}

func framesOf(w, h int) []*camera.Frame {
	m := waves(w, h)
	if w%2 != 0 {
		return []*camera.Frame{bgrOf(m)}
	}
	return []*camera.Frame{bgrOf(m), yuyvOf(m)}
}

// decode decodes with another library than the one that encoded.
func decode(t testing.TB, data []byte, w, h int) *image.YCbCr {
	t.Helper()
	m, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("decode JPEG of %dx%d: %v", w, h, err)
	}
	got, ok := m.(*image.YCbCr)
	if !ok || got.Rect.Dx() != w || got.Rect.Dy() != h || got.SubsampleRatio != image.YCbCrSubsampleRatio420 {
		t.Fatalf("decoded %T of %v, want YCbCr 4:2:0 of %dx%d", m, m.Bounds(), w, h)
	}
	return got
}

// psnr is in dB, of luma and of both chromas; infinite for equal pictures.
func psnr(got, want *image.YCbCr) (y, c float64) {
	var sumY, sumC float64
	for row := range want.Rect.Dy() {
		for x := range want.Rect.Dx() {
			i, g, gc := want.YOffset(x, row), got.YOffset(x, row), got.COffset(x, row)
			square := func(a, b byte) float64 { return (float64(a) - float64(b)) * (float64(a) - float64(b)) }
			sumY += square(got.Y[g], want.Y[i])
			sumC += square(got.Cb[gc], want.Cb[i]) + square(got.Cr[gc], want.Cr[i])
		}
	}
	n := float64(want.Rect.Dx() * want.Rect.Dy())
	return 10 * math.Log10(255*255*n/sumY), 10 * math.Log10(255*255*2*n/sumC)
}

// 45 to 63 dB were measured; a picture off in range, in colour or by a pixel has
// less than 35.
func TestLooksLikeTheFrame(t *testing.T) {
	for _, size := range []struct{ w, h int }{
		{640, 480}, {64, 48}, {63, 47}, {62, 47}, {322, 241}, {17, 16}, {16, 17}, {2, 1}, {1, 1}, {2, 2}, {1, 33}, {34, 1}, {1280, 722},
	} {
		var e Encoder
		for _, f := range framesOf(size.w, size.h) {
			for _, c := range []struct{ quality, y, c float64 }{{95, 48, 46}, {80, 43, 46}} {
				t.Run(fmt.Sprintf("%dx%d %v q%v", f.Width, f.Height, f.Format, c.quality), func(t *testing.T) {
					data, err := e.Encode(nil, f, int(c.quality))
					if err != nil {
						t.Fatal(err)
					}
					y, chroma := psnr(decode(t, data, f.Width, f.Height), waves(f.Width, f.Height))
					t.Logf("%.1f dB luma, %.1f dB chroma, %d bytes", y, chroma, len(data))
					if y < c.y || chroma < c.c {
						t.Errorf("%.1f dB luma, %.1f dB chroma, want %v and %v at least", y, chroma, c.y, c.c)
					}
				})
			}
		}
	}
}

// Black, grey and white of a webcam must be JPEG's.
func TestVideoRangeBecomesFull(t *testing.T) {
	for _, c := range []struct{ in, want byte }{{16, 0}, {126, 128}, {235, 255}, {0, 0}, {255, 255}} {
		f := &camera.Frame{Format: camera.YUYV, Width: 16, Height: 16, Data: bytes.Repeat([]byte{c.in, 128}, 256)}
		data, err := new(Encoder).Encode(nil, f, 100)
		if err != nil {
			t.Fatal(err)
		}
		if m := decode(t, data, 16, 16); m.Y[0] != c.want || m.Cb[0] != 128 || m.Cr[0] != 128 {
			t.Errorf("luma %d became %d, %d, %d; want %d, 128, 128", c.in, m.Y[0], m.Cb[0], m.Cr[0], c.want)
		}
	}
}

func TestQualityRulesTheSize(t *testing.T) {
	for _, f := range framesOf(320, 240) {
		var e Encoder
		sizes := []int{}
		for _, q := range []int{-5, 1, 30, 60, 85, 95, 100, 400} {
			data, err := e.Encode(nil, f, q)
			if err != nil {
				t.Fatal(err)
			}
			decode(t, data, 320, 240)
			sizes = append(sizes, len(data))
		}
		last := len(sizes) - 1
		if sizes[0] != sizes[1] || sizes[last] != sizes[last-1] {
			t.Errorf("%v: sizes %v, want qualities outside 1 to 100 brought into it", f.Format, sizes)
		}
		for i := 2; i < last; i++ {
			if sizes[i] <= sizes[i-1] {
				t.Errorf("%v: sizes %v do not rise with the quality", f.Format, sizes)
			}
		}
	}
}

// The worst case for the buffer: what does not compress, at quality 100.
func TestNoiseFits(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, format := range []camera.PixelFormat{camera.BGR24, camera.YUYV} {
		f := &camera.Frame{Format: format, Width: 322, Height: 241, Data: make([]byte, 322*241*bytesPerPixel(format))}
		for i := range f.Data {
			f.Data[i] = byte(random.Uint32())
		}
		data, err := new(Encoder).Encode(nil, f, 100)
		if err != nil {
			t.Fatal(err)
		}
		decode(t, data, 322, 241)
	}
}

func bytesPerPixel(f camera.PixelFormat) int {
	if f == camera.YUYV {
		return 2
	}
	return 3
}

func TestAppendsWithoutAllocating(t *testing.T) {
	for _, f := range framesOf(64, 48) {
		var e Encoder
		data, err := e.Encode([]byte("kept"), f, 80)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(data, []byte("kept\xff\xd8")) {
			t.Errorf("%v: what was in dst is gone; want the JPEG appended", f.Format)
		}
		if n := testing.AllocsPerRun(10, func() {
			if data, err = e.Encode(data[:4], f, 80); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%v: %v allocations a frame with used buffers, want none", f.Format, n)
		}
	}
}

func TestRefusesFramesThatAreNotWhatTheySay(t *testing.T) {
	for name, c := range map[string]struct {
		f    *camera.Frame
		says string
	}{
		"mjpeg":      {&camera.Frame{Format: camera.MJPEG, Width: 2, Height: 2, Data: []byte("\xff\xd8\xff\xd9")}, "expected bgr24 or yuyv"},
		"short bgr":  {&camera.Frame{Width: 2, Height: 2, Data: make([]byte, 11)}, "expected 12"},
		"long bgr":   {&camera.Frame{Width: 2, Height: 2, Data: make([]byte, 13)}, "expected 12"},
		"short yuyv": {&camera.Frame{Format: camera.YUYV, Width: 2, Height: 2, Data: make([]byte, 7)}, "expected 8"},
		"odd yuyv":   {&camera.Frame{Format: camera.YUYV, Width: 3, Height: 2, Data: make([]byte, 12)}, "odd width 3"},
		"empty":      {&camera.Frame{}, "0x0"},
		"negative":   {&camera.Frame{Width: -2, Height: -2, Data: make([]byte, 12)}, "-2x-2"},
		"huge":       {&camera.Frame{Width: 70000, Height: 1, Data: make([]byte, 210000)}, "70000x1"},
		"unknown":    {&camera.Frame{Format: 99, Width: 2, Height: 2, Data: make([]byte, 12)}, "99"},
	} {
		if _, err := new(Encoder).Encode(nil, c.f, 80); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an error saying %q", name, err, c.says)
		}
	}
}

// Encoders of several cameras share nothing.
func TestEncodersSideBySide(t *testing.T) {
	frames := framesOf(320, 240)
	var wg sync.WaitGroup
	for i := range 4 {
		f := frames[i%2]
		wg.Go(func() {
			var e Encoder
			first, err := e.Encode(nil, f, 80)
			if err != nil {
				t.Error(err)
				return
			}
			for range 20 {
				again, err := e.Encode(nil, f, 80)
				if err != nil || !bytes.Equal(first, again) {
					t.Errorf("%v: another JPEG of %d bytes (%v), want the %d bytes as before", f.Format, len(again), err, len(first))
					return
				}
			}
		})
	}
	wg.Wait()
}

// FuzzEncode gives frames of any size, whose bytes may be too few or too many.
func FuzzEncode(f *testing.F) {
	f.Add(uint16(16), uint16(16), uint8(0), 80, []byte{1, 2, 3}, 0)
	f.Add(uint16(17), uint16(33), uint8(0), 100, []byte{255, 0}, 0)
	f.Add(uint16(18), uint16(1), uint8(2), 1, []byte{9}, 0)
	f.Add(uint16(3), uint16(2), uint8(2), 50, []byte{9}, 0)
	f.Add(uint16(8), uint16(8), uint8(0), 50, []byte{9}, -1)
	f.Add(uint16(8), uint16(8), uint8(1), 50, []byte("\xff\xd8\xff"), 1)
	f.Fuzz(func(t *testing.T, w, h uint16, format uint8, quality int, pattern []byte, off int) {
		fr := &camera.Frame{Format: camera.PixelFormat(format), Width: int(w % 400), Height: int(h % 400)}
		size := fr.Width*fr.Height*bytesPerPixel(fr.Format) + off%8
		if len(pattern) == 0 || size <= 0 {
			return
		}
		fr.Data = bytes.Repeat(pattern, size/len(pattern)+1)[:size]
		data, err := new(Encoder).Encode(nil, fr, quality)
		if want := fr.Check() == nil && fr.Format != camera.MJPEG; (err == nil) != want {
			t.Fatalf("%v of %dx%d with %d bytes: %v, want accepted: %v", fr.Format, fr.Width, fr.Height, size, err, want)
		}
		if err == nil {
			decode(t, data, fr.Width, fr.Height)
		}
	})
}
