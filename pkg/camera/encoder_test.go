package camera

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"

	"framekeeper/internal/bytesize"
	"framekeeper/pkg/frame"
)

// colourBars is a smooth BGR24 picture, so that JPEG keeps its colours.
func colourBars(w, h int) *Frame {
	f := &Frame{Format: BGR24, Width: w, Height: h, Data: make([]byte, 0, w*h*3)}
	for y := range h {
		for x := range w {
			f.Data = append(f.Data, byte(40+x*180/w), byte(200-y*150/h), byte(60+(x+y)*140/(w+h)))
		}
	}
	return f
}

// yuyvBars is the same picture as a webcam sends it, in BT.601 video range.
func yuyvBars(w, h int) *Frame {
	src := colourBars(w, h)
	f := &Frame{Format: YUYV, Width: w, Height: h}
	for i := 0; i < len(src.Data); i += 6 {
		p := src.Data[i:]
		y0, cb, cr := color.RGBToYCbCr(p[2], p[1], p[0])
		y1, _, _ := color.RGBToYCbCr(p[5], p[4], p[3])
		video := func(v byte, span int) byte { return byte(16 + int(v)*span/255) }
		f.Data = append(f.Data, video(y0, 219), video(cb, 224), video(y1, 219), video(cr, 224))
	}
	return f
}

func mjpegBars(t *testing.T, w, h int) *Frame {
	t.Helper()
	e := NewEncoder(Config{Encoding: frame.JPEG, Quality: 95, MaxDecodeBytes: bytesize.GiB}, nil)
	img, err := e.Encode(t.Context(), nil, colourBars(w, h))
	if err != nil {
		t.Fatal(err)
	}
	return &Frame{Format: MJPEG, Width: w, Height: h, Data: img.Data}
}

// compare fails when a decoded image is not colourBars within a tolerance.
func compare(t *testing.T, m image.Image, w, h, tolerance int) {
	t.Helper()
	if m.Bounds().Dx() != w || m.Bounds().Dy() != h {
		t.Fatalf("decoded %v, want %dx%d", m.Bounds(), w, h)
	}
	want := colourBars(w, h).Data
	for y := range h {
		for x := range w {
			r, g, b, _ := m.At(m.Bounds().Min.X+x, m.Bounds().Min.Y+y).RGBA()
			for i, got := range []uint32{b >> 8, g >> 8, r >> 8} {
				if off := int(got) - int(want[(y*w+x)*3+i]); off > tolerance || off < -tolerance {
					t.Fatalf("pixel %d,%d channel %d is %d, want %d±%d", x, y, i, got, want[(y*w+x)*3+i], tolerance)
				}
			}
		}
	}
}

func decode(t *testing.T, img Image) image.Image {
	t.Helper()
	var m image.Image
	var err error
	switch img.Encoding {
	case frame.JPEG:
		m, err = jpeg.Decode(bytes.NewReader(img.Data))
	case frame.PNG:
		m, err = png.Decode(bytes.NewReader(img.Data))
	case frame.Raw:
		if len(img.Data) != img.Width*img.Height*3 || img.PixelFormat != frame.PixelBGR24 {
			t.Fatalf("raw image of %d bytes in %q, want %d in bgr24", len(img.Data), img.PixelFormat, img.Width*img.Height*3)
		}
		rgba := image.NewRGBA(image.Rect(0, 0, img.Width, img.Height))
		for i := range img.Width * img.Height {
			p := img.Data[i*3:]
			rgba.Pix[i*4], rgba.Pix[i*4+1], rgba.Pix[i*4+2], rgba.Pix[i*4+3] = p[2], p[1], p[0], 255
		}
		m = rgba
	}
	if err != nil {
		t.Fatalf("decode %s: %v", img.Encoding, err)
	}
	return m
}

func TestEveryEncodingOfEveryFormat(t *testing.T) {
	for _, size := range []struct{ w, h int }{{64, 48}, {63, 47}, {62, 47}, {48, 1}, {1, 48}} {
		sources := []*Frame{colourBars(size.w, size.h), mjpegBars(t, size.w, size.h)}
		if size.w%2 == 0 {
			sources = append(sources, yuyvBars(size.w, size.h))
		}
		for _, src := range sources {
			for _, enc := range []frame.Encoding{frame.JPEG, frame.PNG, frame.Raw} {
				e := NewEncoder(Config{Encoding: enc, Quality: 95, MaxDecodeBytes: bytesize.GiB}, nil)
				var dst []byte
				for range 2 { // the second time with used buffers
					img, err := e.Encode(t.Context(), dst, src)
					if err != nil {
						t.Fatalf("%v to %s: %v", src.Format, enc, err)
					}
					if img.Encoding != enc || img.Width != size.w || img.Height != size.h {
						t.Fatalf("%v to %s: got %s of %dx%d", src.Format, enc, img.Encoding, img.Width, img.Height)
					}
					tolerance := 12
					if src.Format == BGR24 && enc != frame.JPEG {
						tolerance = 0
					}
					compare(t, decode(t, img), size.w, size.h, tolerance)
					if &img.Data[0] != &src.Data[0] {
						dst = img.Data
					}
				}
			}
		}
	}
}

// JPEGs of odd sizes and other samplings than the usual 4:2:0.
func TestDecodesWhateverJPEGACameraSends(t *testing.T) {
	gray := image.NewGray(image.Rect(0, 0, 33, 17))
	for i := range gray.Pix {
		gray.Pix[i] = 100
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, gray, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	e := NewEncoder(Config{Encoding: frame.JPEG, Quality: 80, MaxDecodeBytes: bytesize.GiB}, nil)
	bgr, err := e.RawBGR(t.Context(), nil, &Frame{Format: MJPEG, Width: 33, Height: 17, Data: b.Bytes()})
	if err != nil {
		t.Fatal(err)
	}
	if len(bgr) != 33*17*3 {
		t.Fatalf("%d bytes, want %d", len(bgr), 33*17*3)
	}
	for i, v := range bgr {
		if v < 99 || v > 101 {
			t.Fatalf("byte %d is %d, want 100±1", i, v)
		}
	}
}

func TestPassthrough(t *testing.T) {
	src := mjpegBars(t, 64, 48)
	copied := bytes.Clone(src.Data)
	e := NewEncoder(Config{Encoding: frame.JPEG, Quality: 10, MaxDecodeBytes: bytesize.GiB}, func([]byte, *Frame, int) ([]byte, error) {
		t.Error("the JPEG function was called for a frame that is a JPEG")
		return nil, nil
	})
	img, err := e.Encode(t.Context(), make([]byte, 1<<20), src)
	if err != nil {
		t.Fatal(err)
	}
	if &img.Data[0] != &src.Data[0] || !bytes.Equal(img.Data, copied) {
		t.Error("the camera's JPEG was copied or changed")
	}
	bars := colourBars(64, 48)
	if raw, err := e.RawBGR(t.Context(), nil, bars); err != nil || &raw[0] != &bars.Data[0] {
		t.Errorf("RawBGR of a BGR24 frame was copied (%v)", err)
	}
}

func TestEncodeWritesIntoDst(t *testing.T) {
	for _, enc := range []frame.Encoding{frame.JPEG, frame.PNG, frame.Raw} {
		e := NewEncoder(Config{Encoding: enc, Quality: 80, MaxDecodeBytes: bytesize.GiB}, nil)
		dst := make([]byte, 17, 1<<20)
		img, err := e.Encode(t.Context(), dst, yuyvBars(64, 48))
		if err != nil {
			t.Fatal(err)
		}
		if &img.Data[0] != &dst[0] {
			t.Errorf("%s: dst of ample capacity was not used", enc)
		}
		compare(t, decode(t, img), 64, 48, 12)
	}
}

func TestQualityIsLive(t *testing.T) {
	var got []int
	e := NewEncoder(Config{Encoding: frame.JPEG, Quality: 85, MaxDecodeBytes: bytesize.GiB}, func(dst []byte, f *Frame, q int) ([]byte, error) {
		if f.Format != YUYV || len(f.Data) != f.Width*f.Height*2 {
			t.Errorf("the JPEG function got %v of %d bytes, want the camera's own YUYV", f.Format, len(f.Data))
		}
		got = append(got, q)
		return append(dst, 0xff), nil
	})
	for _, q := range []int{85, 30, 0, 101} {
		e.SetQuality(q)
		if _, err := e.Encode(t.Context(), nil, yuyvBars(64, 48)); err != nil {
			t.Fatal(err)
		}
	}
	if want := []int{85, 30, 1, 100}; len(got) != 4 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] || got[3] != want[3] {
		t.Errorf("qualities %v, want %v", got, want)
	}
}

func TestRefusesFramesThatContradictTheirFields(t *testing.T) {
	big := mjpegBars(t, 64, 48)
	truncated := &Frame{Format: MJPEG, Width: 64, Height: 48, Data: big.Data[:len(big.Data)/8]}
	for name, f := range map[string]*Frame{
		"empty":             {Format: BGR24},
		"short bgr24":       {Format: BGR24, Width: 4, Height: 4, Data: make([]byte, 47)},
		"long bgr24":        {Format: BGR24, Width: 4, Height: 4, Data: make([]byte, 49)},
		"short yuyv":        {Format: YUYV, Width: 4, Height: 4, Data: make([]byte, 31)},
		"odd yuyv":          {Format: YUYV, Width: 3, Height: 2, Data: make([]byte, 12)},
		"negative":          {Format: BGR24, Width: -4, Height: -4, Data: make([]byte, 48)},
		"huge":              {Format: BGR24, Width: 1 << 30, Height: 1 << 30},
		"no jpeg":           {Format: MJPEG, Width: 4, Height: 4, Data: []byte("GIF89a")},
		"jpeg, nothing in":  {Format: MJPEG, Width: 4, Height: 4},
		"jpeg, other size":  {Format: MJPEG, Width: 32, Height: 48, Data: big.Data},
		"jpeg, cut off":     truncated,
		"unknown format":    {Format: 99, Width: 4, Height: 4, Data: make([]byte, 48)},
		"jpeg, only a head": {Format: MJPEG, Width: 4, Height: 4, Data: []byte{0xff, 0xd8, 0xff, 0xd9}},
	} {
		e := NewEncoder(Config{Encoding: frame.PNG, Quality: 80, MaxDecodeBytes: bytesize.GiB}, nil)
		if _, err := e.Encode(t.Context(), nil, f); err == nil {
			t.Errorf("%s: Encode accepted it", name)
		}
		if _, err := e.RawBGR(t.Context(), nil, f); err == nil {
			t.Errorf("%s: RawBGR accepted it", name)
		}
	}
	e := NewEncoder(Config{Encoding: "webp"}, nil)
	if _, err := e.Encode(t.Context(), nil, colourBars(4, 4)); err == nil || !strings.Contains(err.Error(), "webp") {
		t.Errorf("unknown encoding: %v, want an error naming it", err)
	}
}
