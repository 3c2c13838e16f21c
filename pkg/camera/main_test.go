package camera

import (
	"context"
	"framekeeper/internal/async"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// step is what a fake source's nth Next does, n from 1.
type step func(ctx context.Context, f *Frame, n int) error

// fakeSource is one acquisition of a fakeCamera.
type fakeSource struct {
	next  step
	info  Info
	n     int
	close func() error
}

func (s *fakeSource) Next(ctx context.Context, f *Frame) error { s.n++; return s.next(ctx, f, s.n) }
func (s *fakeSource) Info() Info                               { return s.info }
func (s *fakeSource) Close() error {
	if s.close != nil {
		return s.close()
	}
	return nil
}

// fakeCamera opens one fake source after the other; the last one again and again.
type fakeCamera struct {
	mu           sync.Mutex // guards opens
	opens        int
	acquisitions []step
	info         Info
	close        func() error
}

func (c *fakeCamera) open(context.Context, Config) (Source, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := c.acquisitions[min(c.opens, len(c.acquisitions)-1)]
	c.opens++
	return &fakeSource{next: next, info: c.info, close: c.close}, nil
}

// every delivers a frame each interval, its number in Seq and in its bytes.
func every(interval time.Duration) step {
	return func(ctx context.Context, f *Frame, n int) error {
		if !async.Pause(ctx, interval) {
			return ctx.Err()
		}
		return numbered(f, n)
	}
}

func numbered(f *Frame, n int) error {
	f.Format, f.Width, f.Height = BGR24, 2, 1
	f.Data = append(f.Data, byte(n), byte(n>>8), 0, 0, 0, 0)
	f.Seq, f.Captured = uint64(n), time.Now()
	return nil
}

// then delivers n frames one way and goes on another way.
func then(n int, first, later step) step {
	return func(ctx context.Context, f *Frame, i int) error {
		if i <= n {
			return first(ctx, f, i)
		}
		return later(ctx, f, i)
	}
}

func silent(ctx context.Context, _ *Frame, _ int) error {
	<-ctx.Done()
	return ctx.Err()
}

func ending(context.Context, *Frame, int) error { return io.EOF }

func testConfig() Config {
	c := Default()
	c.Name, c.Source = "cam", "rtsp://admin:secret@10.0.0.5/live"
	return c
}

func newTestGrabber(cfg Config, open Opener) *Grabber {
	g := NewGrabber(cfg, open, zerolog.Nop())
	g.jitter = func() float64 { return 0 }
	return g
}

// running starts Run in the bubble and returns how to stop and join it.
func running(t *testing.T, g *Grabber) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() { cancel(); err = <-done })
		return err
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

// bubble runs a test under a fake clock: it takes no time, and durations in it
// are exact.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}
