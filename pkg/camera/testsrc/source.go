// Package testsrc is the source "test:": a moving test pattern. It promises frames
// of the configured size and rate, each with its number and the instant of its
// rendering in it, for people as text and for tests as a strip of blocks that
// survives JPEG (internal/testkit/striptest reads it). It refuses options. The
// agent opens it.
package testsrc

import (
	"context"
	"fmt"
	"sync"
	"time"

	"framekeeper/pkg/camera"
)

// Source renders frames. Frame.Seq is the number drawn in the frame; it counts
// the slots of the configured rate from 1, so frames nobody fetched in time
// leave gaps, as with a real sensor. Captured is taken when rendering begins.
type Source struct {
	info    camera.Info
	ticker  *camera.Ticker
	pattern *pattern
	closing sync.Once
	closed  chan struct{}
}

var _ camera.Source = (*Source)(nil)

// Open makes a test source of the configured width, height and fps.
func Open(_ context.Context, cfg camera.Config) (camera.Source, error) {
	name, err := camera.ParseSource(cfg.Source)
	if err != nil {
		return nil, err
	}
	if name.Scheme != camera.SchemeTest || name.Rest != "" {
		return nil, fmt.Errorf("source %q: expected test: and nothing after it", camera.RedactSource(cfg.Source))
	}
	if cfg.Width < 1 || cfg.Height < 1 || !(cfg.FPS > 0) {
		return nil, fmt.Errorf("test source of %dx%d at %v fps: expected numbers above 0", cfg.Width, cfg.Height, cfg.FPS)
	}
	return &Source{
		info: camera.Info{
			Driver: "test pattern", Width: cfg.Width, Height: cfg.Height, FPS: cfg.FPS, Format: camera.BGR24,
		},
		ticker:  camera.NewTicker(cfg.FPS),
		pattern: newPattern(cfg.Width, cfg.Height),
		closed:  make(chan struct{}),
	}, nil
}

// Next waits for the next slot and renders its frame.
func (s *Source) Next(ctx context.Context, f *camera.Frame) error {
	number, err := s.ticker.Wait(ctx, s.closed)
	if err != nil {
		return err
	}
	f.Captured = time.Now()
	f.Seq = number
	f.Format, f.Width, f.Height = camera.BGR24, s.info.Width, s.info.Height
	f.Data = s.pattern.render(f.Data, number, f.Captured)
	return nil
}

// Info is what was configured; the latency is 0.
func (s *Source) Info() camera.Info { return s.info }

// Close ends a waiting Next. It may be called more than once.
func (s *Source) Close() error {
	s.closing.Do(func() { close(s.closed) })
	return nil
}
