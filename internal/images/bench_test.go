package images

import (
	"bytes"
	"image"
	"image/png"
	"testing"

	"framekeeper/pkg/frame"
)

// The two below are why raw frames become BMP and not PNG.
func rawFrame() (frame.Header, []byte) {
	h := frame.Header{PixelFormat: frame.PixelBGR24, Width: 1280, Height: 720}
	pixels := make([]byte, 1280*720*3)
	for i := range pixels {
		pixels[i] = byte(i*i>>7) ^ byte(i)
	}
	return h, pixels
}

func BenchmarkRawToBMP(b *testing.B) {
	h, pixels := rawFrame()
	for b.Loop() {
		if _, err := BMP(&h, pixels); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRawToPNG(b *testing.B) {
	h, pixels := rawFrame()
	enc := png.Encoder{CompressionLevel: png.BestSpeed}
	for b.Loop() {
		img := image.NewNRGBA(image.Rect(0, 0, h.Width, h.Height))
		for i, j := 0, 0; i < len(pixels); i, j = i+3, j+4 {
			img.Pix[j], img.Pix[j+1], img.Pix[j+2], img.Pix[j+3] = pixels[i+2], pixels[i+1], pixels[i], 255
		}
		var out bytes.Buffer
		if err := enc.Encode(&out, img); err != nil {
			b.Fatal(err)
		}
	}
}
