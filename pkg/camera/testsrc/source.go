// Package testsrc is the source "test:": a camera made of arithmetic. It
// promises a moving picture at the configured size and rate in which every
// frame carries its number and the instant it was rendered, for people as text
// and for tests as a strip of blocks that survives JPEG (see ReadNumber). It
// refuses options. The agent opens it; tests of any program read its frames.
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
	pacer   *camera.Ticker
	picture *picture
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
		pacer:   camera.NewTicker(cfg.FPS),
		picture: newPicture(cfg.Width, cfg.Height),
		closed:  make(chan struct{}),
	}, nil
}

// Next waits for the next slot and renders its frame.
func (s *Source) Next(ctx context.Context, f *camera.Frame) error {
	number, err := s.pacer.Wait(ctx, s.closed)
	if err != nil {
		return err
	}
	f.Captured = time.Now()
	f.Seq = number
	f.Format, f.Width, f.Height = camera.BGR24, s.info.Width, s.info.Height
	f.Data = s.picture.render(f.Data, number, f.Captured)
	return nil
}

// Info says what was configured; the latency is 0.
func (s *Source) Info() camera.Info { return s.info }

// Close ends a waiting Next. It may be called more than once.
func (s *Source) Close() error {
	s.closing.Do(func() { close(s.closed) })
	return nil
}
