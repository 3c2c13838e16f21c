package camera

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"strings"
	"testing"

	"framekeeper/pkg/frame"
)

// bomb is a small JPEG of many pixels, all of one colour.
func bomb(side int, frameHeader byte) []byte {
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
		segment(frameHeader, append(size, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0)...),
		segment(markDHT, append([]byte{0x00}, table...)...), segment(markDHT, append([]byte{0x10}, table...)...),
		segment(markSOS, append([]byte{3, 1, 0, 2, 0, 3, 0}, spectrum...)...),
		make([]byte, side/8*(side/8)*6/8+1), {0xff, markEOI},
	}, nil)
}

// A camera, or whoever answers at its address, sends a megabyte that would be gigabytes
// when decoded: it is refused before memory is taken.
func TestDecodingIsBounded(t *testing.T) {
	const side = 7168 // 51 megapixels
	var before, after runtime.MemStats
	for name, header := range map[string]byte{"baseline": markSOF0, "progressive": markSOF2} {
		data := bomb(side, header)
		small := bomb(64, header)
		for _, enc := range []frame.Encoding{frame.Raw, frame.PNG} {
			e := NewEncoder(Config{Encoding: enc}, nil)
			if _, err := e.Encode(nil, &Frame{Format: MJPEG, Width: 64, Height: 64, Data: small}); err != nil {
				t.Errorf("%s to %s: a small one: %v", name, enc, err)
			}
			runtime.ReadMemStats(&before)
			_, err := e.Encode(nil, &Frame{Format: MJPEG, Width: side, Height: side, Data: data})
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), "7168x7168 pixels would take") {
				t.Errorf("%s to %s: got %v, want a refusal", name, enc, err)
			}
			if taken := (after.TotalAlloc - before.TotalAlloc) >> 20; taken > 8 {
				t.Errorf("%s to %s: %d MiB were taken for it", name, enc, taken)
			}
		}
	}
}

// What a camera has legitimately: 12 megapixels progressive, 24 otherwise.
func TestLargeImagesAreDecoded(t *testing.T) {
	for name, data := range map[string][]byte{"progressive": bomb(3456, markSOF2), "baseline": bomb(4896, markSOF0)} {
		j, err := InspectJPEG(data)
		if err != nil {
			t.Fatal(err)
		}
		bgr, err := DecodeBGR(data, frame.JPEG, j.Width, j.Height)
		if err != nil || len(bgr) != j.Width*j.Height*3 {
			t.Errorf("%s: %d bytes, %v", name, len(bgr), err)
		}
	}
}
