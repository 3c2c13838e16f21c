package bench

import (
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
)

// BenchmarkPassthrough is what a camera's own JPEG costs on its way into the
// outbox (no decoding, a checksum, one copy with its header), against that one
// copy.
func BenchmarkPassthrough(b *testing.B) {
	const inARow = 100
	data := picture()
	copy(data, "\xff\xd8\xff") // as a JPEG begins
	copy(data[imageSize-2:], "\xff\xd9")
	jpeg := &camera.Frame{Data: data, Format: camera.MJPEG, Width: 1280, Height: 720}
	e := camera.NewEncoder(camera.Config{Encoding: frame.JPEG, Quality: 85}, nil)
	o := outbox.NewLog(outbox.LogConfig{Camera: cameraName, Epoch: 1, Limit: 1 << 20, Stream: 64 << 20, Log: zerolog.Nop()})
	var took, floor time.Duration
	var kept []byte
	for b.Loop() {
		began := time.Now()
		for range inARow {
			kept = append(make([]byte, 0, len(jpeg.Data)+512), jpeg.Data...)
		}
		floor += time.Since(began)
		began = time.Now()
		for range inARow {
			img, err := e.Encode(b.Context(), nil, jpeg)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := o.Add(outbox.Options{Unlogged: true}, build(img.Data)); err != nil {
				b.Fatal(err)
			}
		}
		took += time.Since(began)
	}
	if len(kept) != imageSize {
		b.Fatalf("copied %d bytes, want %d", len(kept), imageSize)
	}
	report(b, took, floor, b.N*inARow)
}
