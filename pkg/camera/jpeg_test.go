package camera

import (
	"bytes"
	"errors"
	"image"
	"image/jpeg"
	"slices"
	"strings"
	"testing"
)

// withoutTables cuts the DHT segments out, as UVC cameras leave them out.
func withoutTables(t testing.TB, data []byte) []byte {
	t.Helper()
	at := bytes.Index(data, []byte{0xff, markDHT})
	if at < 0 {
		t.Fatal("no DHT segment to cut out")
	}
	size := 2 + int(data[at+2])<<8 + int(data[at+3])
	return append(slices.Clone(data[:at]), data[at+size:]...)
}

// afterSOI puts bytes behind the first two.
func afterSOI(data []byte, more ...byte) []byte {
	return slices.Concat(data[:2], more, data[2:])
}

func TestInspectJPEGAccepts(t *testing.T) {
	plain := mjpegBars(t, 64, 48).Data
	thumbnail := append([]byte{0xff, 0xe1, 0, 12}, 0xff, 0xd8, 0xff, 0xda, 0, 2, 1, 1, 0xff, 0xd9)
	for _, c := range []struct {
		name string
		data []byte
		want []byte // "": data itself
	}{
		{name: "plain", data: plain},
		{name: "padded", data: append(slices.Clone(plain), make([]byte, 1000)...), want: plain},
		{name: "fill bytes", data: afterSOI(plain, 0xff, 0xff, 0xff)},
		{name: "a stray byte between segments", data: afterSOI(plain, 0)},
		{name: "junk between segments", data: afterSOI(plain, 0, 0, 0, 4, 'x', 0xff, 0, 0xff, 0xd3)},
		{name: "a thumbnail with an end of its own", data: afterSOI(plain, thumbnail...)},
		{name: "without tables", data: withoutTables(t, plain), want: plain},
		{name: "without tables and padded", data: append(withoutTables(t, plain), 0, 0), want: plain},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.want == nil {
				c.want = c.data
			}
			before := slices.Clone(c.data)
			j, err := InspectJPEG(c.data)
			if err != nil {
				t.Fatal(err)
			}
			if j.Width != 64 || j.Height != 48 {
				t.Errorf("size %dx%d, want 64x48", j.Width, j.Height)
			}
			got := j.AppendTo([]byte("x"))
			if string(got) != "x"+string(c.want) {
				t.Errorf("AppendTo gave %d bytes, want %d other ones", len(got)-1, len(c.want))
			}
			if !bytes.Equal(c.data, before) {
				t.Error("the camera's bytes were written to")
			}
			if got := j.InPlace(c.data); !bytes.Equal(got, c.want) {
				t.Errorf("InPlace gave %d bytes, want %d other ones", len(got), len(c.want))
			}
			m, err := jpeg.Decode(bytes.NewReader(got[1:]))
			if err != nil {
				t.Fatal(err)
			}
			compare(t, m, 64, 48, 12)
		})
	}
}

func TestInspectJPEGRefuses(t *testing.T) {
	plain := mjpegBars(t, 64, 48).Data
	sof := bytes.Index(plain, []byte{0xff, markSOF0})
	sos := bytes.Index(plain, []byte{0xff, markSOS})
	patched := func(at int, b ...byte) []byte {
		p := slices.Clone(plain)
		copy(p[at:], b)
		return p
	}
	bare := withoutTables(t, plain)
	progressive := slices.Clone(bare)
	progressive[bytes.Index(progressive, []byte{0xff, markSOF0})+1] = markSOF2
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"nothing", nil, "0 bytes do not begin"},
		{"zeros", make([]byte, 100), "do not begin"},
		{"text", []byte("<html>no camera</html>"), "do not begin"},
		{"cut in the image", plain[:len(plain)-20], "do not end"},
		{"cut in the header", append(slices.Clone(plain[:30]), 0xff, markEOI), "segment"},
		{"cut before the frame header", slices.Concat(plain[:sof], []byte{0xff, markEOI}), "no image data"},
		{"no frame header", slices.Concat(plain[:sof], plain[sof+19:]), "without a frame header"},
		{"two frame headers", slices.Concat(plain[:sof], plain[sof:sof+19], plain[sof:]), "two frame headers"},
		{"scan and nothing in it", slices.Concat(plain[:sos+14], []byte{0xff, markEOI}), "no image data"},
		{"scan header of another length", patched(sos+4, 4), "scan header"},
		{"frame header of another length", patched(sof+9, 4), "frame header"},
		{"12 bits", patched(sof+4, 12), "12 bits"},
		{"no height", patched(sof+5, 0, 0), "64x0"},
		{"65535 wide", patched(sof+7, 0xff, 0xff), "65535x48"},
		{"sampling of 0", patched(sof+11, 0x01), "sampling 0x1"},
		{"components of one name", patched(sof+13, plain[sof+10]), "two components"},
		{"lossless", patched(sof, 0xff, 0xc3), "marker 0xc3"},
		{"nothing but junk", slices.Concat([]byte{0xff, markSOI}, make([]byte, 50), []byte{0xff, markEOI}), "no image data"},
		{"segment length of 1", afterSOI(plain, 0xff, 0xe1, 0, 1), "of 1 bytes"},
		{"segment beyond the end", afterSOI(plain, 0xff, 0xe1, 0xff, 0xff), "of 65535 bytes"},
		{"progressive without tables", progressive, "no standard"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := InspectJPEG(c.data)
			if !errors.Is(err, ErrBadJPEG) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want an ErrBadJPEG with %q", err, c.want)
			}
		})
	}
}

// TestInspectJPEGCostsNothing: it stands in the way of every frame.
func TestInspectJPEGCostsNothing(t *testing.T) {
	plain := mjpegBars(t, 64, 48).Data
	bare := withoutTables(t, plain)
	var dst []byte
	if n := testing.AllocsPerRun(100, func() {
		for _, data := range [][]byte{plain, bare} {
			j, err := InspectJPEG(data)
			if err != nil {
				t.Fatal(err)
			}
			dst = j.AppendTo(dst[:0])
			if dst = j.InPlace(append(dst[:0], j.Data...)); !bytes.Equal(dst, plain) {
				t.Fatal("not the image")
			}
		}
	}); n != 0 {
		t.Fatalf("%v allocations for two frames, want 0", n)
	}
}

func FuzzInspectJPEG(f *testing.F) {
	for _, m := range []image.Image{
		image.NewGray(image.Rect(0, 0, 9, 7)),
		image.NewYCbCr(image.Rect(0, 0, 16, 16), image.YCbCrSubsampleRatio420),
	} {
		var b bytes.Buffer
		if err := jpeg.Encode(&b, m, nil); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
		f.Add(withoutTables(f, b.Bytes()))
		f.Add(append(b.Bytes(), 0, 0, 0))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		j, err := InspectJPEG(data)
		if err != nil {
			if !errors.Is(err, ErrBadJPEG) || len(err.Error()) > 200 {
				t.Fatalf("refused with %q", err)
			}
			return
		}
		whole := j.AppendTo(nil)
		if again := j.InPlace(append([]byte(nil), j.Data...)); !bytes.Equal(whole, again) {
			t.Fatal("AppendTo and InPlace differ")
		}
		head, err := jpeg.DecodeConfig(bytes.NewReader(whole))
		var unsupported jpeg.UnsupportedError // of the standard library only: rare sampling factors
		switch {
		case errors.As(err, &unsupported) && strings.Contains(err.Error(), "subsampling"):
		case err != nil:
			t.Fatalf("accepted, but image/jpeg says %v", err)
		case head.Width != j.Width || head.Height != j.Height:
			t.Fatalf("%dx%d, but image/jpeg reads %dx%d", j.Width, j.Height, head.Width, head.Height)
		}
		if j, err = InspectJPEG(whole); err != nil || j.NoTables || len(j.Data) != len(whole) {
			t.Fatalf("its own result is %+v, %v", j.NoTables, err)
		}
	})
}
