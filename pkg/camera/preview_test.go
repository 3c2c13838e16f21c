package camera

import (
	"bytes"
	"context"
	"image/jpeg"
	"testing"
	"time"
)

func TestPreviewScales(t *testing.T) {
	frames := map[string]*Frame{"bgr24": colourBars(640, 360), "yuyv": yuyvBars(640, 360), "mjpeg": mjpegBars(t, 640, 360)}
	for name, f := range frames {
		for _, c := range []struct{ wanted, width, height int }{{0, 640, 360}, {640, 640, 360}, {9999, 640, 360}, {320, 320, 180}, {200, 240, 135}, {1, 80, 45}} {
			p := NewPreview(testConfig(), nil, nil)
			data, w, h, err := p.JPEG(t.Context(), f, Eighths(f.Width, c.wanted), 80)
			if err != nil {
				t.Errorf("%s at %d: %v", name, c.wanted, err)
				continue
			}
			m, err := jpeg.Decode(bytes.NewReader(data))
			if err != nil || w != c.width || h != c.height || m.Bounds().Dx() != w || m.Bounds().Dy() != h {
				t.Errorf("%s at %d: got %dx%d, the JPEG has %v (%v), want %dx%d", name, c.wanted, w, h, m.Bounds(), err, c.width, c.height)
				continue
			}
			compare(t, m, w, h, 40)
		}
	}
}

func TestPreviewKeepsACamerasOwnJPEG(t *testing.T) {
	f := mjpegBars(t, 64, 48)
	data, _, _, err := NewPreview(testConfig(), nil, nil).JPEG(t.Context(), f, 8, 80)
	if err != nil || !bytes.Equal(data, f.Data) {
		t.Fatalf("got %d bytes (%v), want the camera's own %d", len(data), err, len(f.Data))
	}
	if &data[0] == &f.Data[0] {
		t.Error("the image is the frame's own memory, which the next frame overwrites")
	}
}

func TestPreviewRefuses(t *testing.T) {
	for name, f := range map[string]*Frame{
		"cut short":  {Format: MJPEG, Data: []byte{0xff, 0xd8, 0xff, 0xda, 0, 1, 2}, Width: 640, Height: 480},
		"a bomb":     {Format: MJPEG, Data: bomb(16384, markSOF2, 1), Width: 16384, Height: 16384},
		"wrong size": {Format: BGR24, Data: make([]byte, 10), Width: 640, Height: 480},
	} {
		if _, _, _, err := NewPreview(testConfig(), nil, nil).JPEG(t.Context(), f, 4, 80); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// Everybody who waits gets the frame, and the consumer of Updates too.
func TestAwaitIsForAnyNumber(t *testing.T) {
	release := make(chan struct{})
	gate := func(ctx context.Context, f *Frame, n int) error {
		select {
		case <-release:
			return numbered(f, n)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	cam := &fakeCamera{acquisitions: []step{then(1, every(0), then(2, gate, silent))}}
	cfg := testConfig()
	cfg.StallTimeout = time.Minute
	g := newTestGrabber(cfg, cam.open)
	stop := running(t, g)
	defer func() { _ = stop() }()
	first, ticket := g.Await(t.Context(), 0)
	first.Release()
	got := make(chan uint64, 50)
	for range cap(got) {
		go func() {
			f, ticket := g.Await(t.Context(), ticket)
			f.Release()
			got <- ticket
		}()
	}
	close(release)
	for range cap(got) {
		if next := <-got; next <= ticket {
			t.Errorf("got ticket %d, want one above %d", next, ticket)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if f, _ := g.Await(ended, 1<<60); f != nil {
		t.Error("got a frame after the context had ended")
	}
}
