package mjpeg

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// picture is a JPEG of noise that differs from number to number: noise so that
// its data is full of 0xff 0x00.
func picture(t testing.TB, number, w, h int) []byte {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, w, h))
	seed := uint32(number)*2654435761 + 1
	for y := range h {
		for x := range w {
			seed = seed*1664525 + 1013904223
			m.SetGray(x, y, color.Gray{Y: byte(seed >> 24)})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 90}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// thumbnailed is the JPEG with another one in an APP1 segment.
func thumbnailed(data, thumb []byte) []byte {
	size := len(thumb) + 2
	head := append([]byte{0xff, 0xd8, 0xff, 0xe1, byte(size >> 8), byte(size)}, thumb...)
	return append(head, data[2:]...)
}
