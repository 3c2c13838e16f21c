package camera

import (
	"context"
	"fmt"
	"framekeeper/internal/async"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// Frozen is frozen whatever the bytes are: a camera's own JPEGs, packed YUV or
// pixels. A single changed byte is a picture.
func TestFrozenImageInEveryFormat(t *testing.T) {
	for _, format := range []PixelFormat{MJPEG, YUYV, BGR24} {
		bubble(t, format.String(), func(t *testing.T) {
			cfg := testConfig()
			cfg.FrozenTimeout = time.Second
			image := make([]byte, 160_000)
			var changing atomic.Bool
			changing.Store(true)
			source := func(ctx context.Context, f *Frame, n int) error {
				if !async.Pause(ctx, 40*time.Millisecond) {
					return ctx.Err()
				}
				if changing.Load() {
					image[len(image)/2]++ // one byte in the middle
				}
				f.Format, f.Width, f.Height, f.Seq = format, 400, 200, uint64(n)
				f.Data = append(f.Data, image...)
				return nil
			}
			g := newTestGrabber(cfg, (&fakeCamera{acquisitions: []step{source}}).open)
			stop := running(t, g)
			time.Sleep(10 * time.Second)
			if h := g.Health(); h.State != StateOK || h.Stalls != 0 {
				t.Errorf("health %+v while one byte changes, want ok", h)
			}
			changing.Store(false)
			time.Sleep(1100 * time.Millisecond)
			if h := g.Health(); h.State == StateOK || h.Stalls != 1 {
				t.Errorf("health %+v 1.1 s after the image froze, want a stall", h)
			}
			changing.Store(true)
			time.Sleep(time.Second)
			if h := g.Health(); h.State != StateOK {
				t.Errorf("health %+v after the image moved again, want ok", h)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// What frozen_timeout costs for each frame.
func BenchmarkFrozen(b *testing.B) {
	for _, size := range []int{160_000, 1280 * 720 * 3} {
		for _, frozen := range []time.Duration{0, time.Minute} {
			b.Run(fmt.Sprintf("%d KB/frozen_timeout %v", size/1000, frozen), func(b *testing.B) {
				cfg := testConfig()
				cfg.FrozenTimeout = frozen
				g := NewGrabber(cfg, nil, zerolog.Nop())
				a := &acquisition{ready: make(chan struct{})}
				g.opened(a, Info{})
				image := make([]byte, size)
				for i := range image {
					image[i] = byte(rand.Uint32())
				}
				b.SetBytes(int64(size))
				for b.Loop() {
					f := g.pool.get()
					f.Data = image
					if err := g.deliver(a, f); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
