package camera

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"runtime"
	"strings"
	"testing"
	"time"

	"framekeeper/internal/bytesize"
	"framekeeper/pkg/frame"
)

// bomb is a small JPEG of many pixels, all of one colour. A sample of chroma is for as
// many pixels each way as chroma says.
func bomb(side int, frameHeader byte, chroma int) []byte {
	segment := func(mark byte, body ...byte) []byte {
		return append([]byte{0xff, mark, byte((len(body) + 2) >> 8), byte(len(body) + 2)}, body...)
	}
	size := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16([]byte{8}, uint16(side)), uint16(side))
	table := append([]byte{1}, make([]byte, 16)...) // one code of one bit, for 0
	spectrum := []byte{0, 63, 0}
	if frameHeader == markSOF2 {
		spectrum = []byte{0, 0, 0}
	}
	return bytes.Join([][]byte{
		{0xff, markSOI}, segment(markDQT, append([]byte{0}, bytes.Repeat([]byte{1}, 64)...)...),
		segment(frameHeader, append(size, 3, 1, byte(0x11*chroma), 0, 2, 0x11, 0, 3, 0x11, 0)...),
		segment(markDHT, append([]byte{0x00}, table...)...), segment(markDHT, append([]byte{0x10}, table...)...),
		segment(markSOS, append([]byte{3, 1, 0, 2, 0, 3, 0}, spectrum...)...),
		make([]byte, side/8*(side/8)*6/8+1), {0xff, markEOI},
	}, nil)
}

// scans adds scans of the first component to a JPEG of 64 coefficients a block, all zero.
func scans(data []byte, n int) []byte {
	pixels := int(binary.BigEndian.Uint16(data[bytes.Index(data, []byte{0xff, markSOF2})+5:]))
	refine := append([]byte{0xff, markSOS, 0, 8, 1, 1, 0, 1, 63, 0}, make([]byte, pixels/8*(pixels/8)/8+1)...)
	return append(append(data[:len(data)-2:len(data)-2], bytes.Repeat(refine, n)...), 0xff, markEOI)
}

// limited is a camera's Config with a limit.
func limited(enc frame.Encoding, limit bytesize.Size) Config {
	c := Default()
	c.Encoding, c.MaxDecodeBytes = enc, limit
	return c
}

// A camera, or whoever answers at its address, sends a megabyte that would be gigabytes
// when decoded: it is refused before memory is taken.
func TestDecodingIsBounded(t *testing.T) {
	const side = 4896 // 24 megapixels
	var before, after runtime.MemStats
	for name, header := range map[string]byte{"baseline": markSOF0, "progressive": markSOF2} {
		data := bomb(side, header, 1)
		small := bomb(64, header, 1)
		for _, enc := range []frame.Encoding{frame.Raw, frame.PNG} {
			e := NewEncoder(limited(enc, Default().MaxDecodeBytes), nil)
			if _, err := e.Encode(t.Context(), nil, &Frame{Format: MJPEG, Width: 64, Height: 64, Data: small}); err != nil {
				t.Errorf("%s to %s: a small one: %v", name, enc, err)
			}
			runtime.ReadMemStats(&before)
			_, err := e.Encode(t.Context(), nil, &Frame{Format: MJPEG, Width: side, Height: side, Data: data})
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), "4896x4896 pixels would take") || !strings.Contains(err.Error(), "max_decode_bytes") {
				t.Errorf("%s to %s: got %v, want a refusal that names the setting", name, enc, err)
			}
			if taken := (after.TotalAlloc - before.TotalAlloc) >> 20; taken > 8 {
				t.Errorf("%s to %s: %d MiB were taken for it", name, enc, taken)
			}
			e = NewEncoder(limited(enc, bytesize.GiB), nil)
			if _, err := e.Encode(t.Context(), nil, &Frame{Format: MJPEG, Width: 64, Height: 64, Data: small}); err != nil {
				t.Errorf("%s to %s with more room: %v", name, enc, err)
			}
		}
	}
}

// What is taken is what was computed before, and no more than the limit that allows it.
func TestDecodingTakesWhatIsComputed(t *testing.T) {
	const side, pixels = 2048, 2048 * 2048
	var before, after runtime.MemStats
	for _, c := range []struct {
		name   string
		header byte
		chroma int
	}{
		{"baseline 4:4:4", markSOF0, 1}, {"baseline 4:2:0", markSOF0, 2}, {"progressive 4:4:4", markSOF2, 1}, {"progressive 4:2:0", markSOF2, 2},
	} {
		data := bomb(side, c.header, c.chroma)
		j, err := InspectJPEG(data)
		if err != nil {
			t.Fatal(err)
		}
		computed := pixels * (3 + j.decodedBytes(image.Config{}))
		runtime.ReadMemStats(&before)
		if _, err := NewDecoder(Default()).BGR(t.Context(), data, frame.JPEG, side, side); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		runtime.ReadMemStats(&after)
		if taken := float64(after.TotalAlloc - before.TotalAlloc); taken > computed+1<<20 || taken < computed*0.99 {
			t.Errorf("%s: %.1f MiB were taken, %.1f computed", c.name, taken/(1<<20), computed/(1<<20))
		}
		limit := bytesize.Size(pixels * (6 + j.decodedBytes(image.Config{})))
		for _, by := range []bytesize.Size{-1, 0} {
			_, err := NewDecoder(limited(frame.Raw, limit+by)).BGR(t.Context(), data, frame.JPEG, side, side)
			if (err == nil) != (by == 0) {
				t.Errorf("%s with a limit that is %d bytes from what it takes: %v", c.name, by, err)
			}
		}
	}
}

// What cameras have is decoded: 12 megapixels progressive, 24 otherwise.
func TestLargeImagesAreDecoded(t *testing.T) {
	for name, data := range map[string][]byte{"progressive": bomb(3456, markSOF2, 2), "baseline": bomb(4896, markSOF0, 2)} {
		j, err := InspectJPEG(data)
		if err != nil {
			t.Fatal(err)
		}
		bgr, err := NewDecoder(Default()).BGR(t.Context(), data, frame.JPEG, j.Width, j.Height)
		if err != nil || len(bgr) != j.Width*j.Height*3 {
			t.Errorf("%s: %d bytes, %v", name, len(bgr), err)
		}
	}
}

// A few bytes make each scan, and each scan a pass over all pixels.
func TestAJPEGOfManyScansIsNotDecoded(t *testing.T) {
	data := scans(bomb(64, markSOF2, 1), maxScans)
	if _, err := NewDecoder(Default()).BGR(t.Context(), data, frame.JPEG, 64, 64); err == nil || !strings.Contains(err.Error(), "101 scans") {
		t.Errorf("got %v, want a refusal", err)
	}
	data = scans(bomb(64, markSOF2, 1), maxScans-1)
	if _, err := NewDecoder(Default()).BGR(t.Context(), data, frame.JPEG, 64, 64); err != nil {
		t.Errorf("with %d scans: %v", maxScans, err)
	}
}

// An agent has 5 s to end, whatever it decodes.
func TestDecodingEndsWithItsContext(t *testing.T) {
	data := scans(bomb(3200, markSOF2, 1), maxScans-1)
	ctx, cancel := context.WithCancelCause(t.Context())
	stopping := errors.New("stopping")
	time.AfterFunc(100*time.Millisecond, func() { cancel(stopping) })
	began := time.Now()
	_, err := NewDecoder(limited(frame.Raw, bytesize.GiB)).BGR(ctx, data, frame.JPEG, 3200, 3200)
	if took := time.Since(began); !errors.Is(err, stopping) || took > 5*time.Second {
		t.Errorf("got %v after %v", err, took)
	}
	t.Logf("ended after %v", time.Since(began))
}
