package v4l2

import (
	"bytes"
	"image"
	"image/jpeg"
	"strings"
	"testing"
	"time"

	"framekeeper/pkg/camera"
)

// What a driver may hand over: whole frames are copied, others are counted.
func TestFill(t *testing.T) {
	var whole bytes.Buffer
	if err := jpeg.Encode(&whole, image.NewGray(image.Rect(0, 0, 32, 16)), nil); err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(whole.Bytes(), []byte{0xff, 0xc4})
	size := 2 + int(whole.Bytes()[at+2])<<8 + int(whole.Bytes()[at+3])
	bare := append(bytes.Clone(whole.Bytes()[:at]), whole.Bytes()[at+size:]...)
	mjpg, _ := layoutOf(makeFourCC("MJPG"))
	yuyv, _ := layoutOf(makeFourCC("YUYV"))
	for _, c := range []struct {
		name   string
		layout layout
		stride uint32
		data   []byte
		used   uint32 // of data; 0: all
		flags  uint32
		defect string // "": it is whole
		size   int
	}{
		{name: "jpeg", layout: mjpg, data: whole.Bytes(), size: whole.Len()},
		{name: "padded jpeg", layout: mjpg, data: append(bytes.Clone(whole.Bytes()), make([]byte, 99)...), size: whole.Len()},
		{name: "jpeg without tables", layout: mjpg, data: bare, size: len(bare) + 420},
		{name: "jpeg cut short", layout: mjpg, data: whole.Bytes(), used: uint32(whole.Len() - 2), defect: "not a complete JPEG"},
		{name: "flagged", layout: mjpg, data: whole.Bytes(), flags: bufFlagError, defect: "flagged"},
		{name: "more used than there is", layout: mjpg, data: whole.Bytes(), used: 1 << 31, size: whole.Len()},
		{name: "empty", layout: yuyv, stride: 64, defect: "empty"},
		{name: "yuyv", layout: yuyv, stride: 64, data: make([]byte, 64*16), size: 64 * 16},
		{name: "yuyv with padding", layout: yuyv, stride: 80, data: make([]byte, 80*16), size: 64 * 16},
		{name: "yuyv cut short", layout: yuyv, stride: 80, data: make([]byte, 80*15+63), defect: "cut short: 1263 of 1264 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &Source{layout: c.layout, info: camera.Info{Width: 32, Height: 16}, queue: &queue{maps: [][]byte{c.data}}}
			s.pix.bytesPerLine = c.stride
			b := buffer{bytesUsed: c.used, flags: c.flags, sequence: 7}
			if c.used == 0 {
				b.bytesUsed = uint32(len(c.data))
			}
			var f camera.Frame
			ok := s.fill(&f, &b)
			d := s.Defects()
			if c.defect != "" {
				if ok || d.Broken != 1 || !strings.Contains(d.Last, c.defect) {
					t.Errorf("got %v, %+v; want it counted as %q", ok, d, c.defect)
				}
				return
			}
			if !ok || d.Broken != 0 || len(f.Data) != c.size || f.Width != 32 || f.Height != 16 || f.Seq != 7 || f.Captured.IsZero() {
				t.Errorf("got %v, %+v, frame %d of %dx%d with %d bytes, want %d", ok, d, f.Seq, f.Width, f.Height, len(f.Data), c.size)
			}
			if f.Format == camera.MJPEG {
				if _, err := jpeg.Decode(bytes.NewReader(f.Data)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestFillTakesTheKernelsTime(t *testing.T) {
	s := &Source{}
	before := time.Now()
	if got := s.captured(&buffer{}); got.Before(before) {
		t.Errorf("without a timestamp: %v before now", before.Sub(got))
	}
	b := buffer{flags: bufFlagMonotonic} // 0 is the boot of the machine
	if got := s.captured(&b); before.Sub(got) < time.Second {
		t.Errorf("the timestamp of the boot became %v", got)
	}
}
