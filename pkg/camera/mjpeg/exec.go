package mjpeg

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"framekeeper/pkg/camera"
)

// Open opens exec:COMMAND or an http(s) URL.
func Open(ctx context.Context, cfg camera.Config) (camera.Source, error) {
	name, err := camera.ParseSource(cfg.Source)
	if err != nil {
		return nil, err
	}
	switch name.Scheme {
	case camera.SchemeExec:
		return openExec(ctx, name.Rest, cfg)
	case camera.SchemeHTTP:
		return openHTTP(ctx, name.Rest, cfg)
	}
	return nil, fmt.Errorf("%w: source %s gives no JPEGs", camera.ErrUnsupported, camera.RedactSource(cfg.Source))
}

// execSource reads the JPEGs a command writes to its standard output.
type execSource struct {
	feed      feed
	watch     watch
	info      camera.Info
	child     *child
	grace     time.Duration
	interrupt func() // made once, so that Next allocates nothing
}

var (
	_ camera.Source        = (*execSource)(nil)
	_ camera.DefectCounter = (*execSource)(nil)
)

// openExec starts the command and waits for its first JPEG.
func openExec(ctx context.Context, command string, cfg camera.Config) (camera.Source, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	words, err := splitWords(command)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", camera.ErrNoDevice, camera.RedactSource(cfg.Source), err)
	}
	child, err := startChild(words)
	if err != nil {
		return nil, err
	}
	// The Grabber gives a source stall_timeout to close.
	grace := min(500*time.Millisecond, cfg.StallTimeout/2)
	s := &execSource{
		info: camera.Info{
			Driver:  "exec " + filepath.Base(strings.TrimPrefix(camera.RedactSource("exec:"+words[0]), "exec:")),
			Latency: cfg.Interval(),
		},
		child:     child,
		grace:     grace,
		interrupt: func() { child.close(grace) },
	}
	out, err := newArrivals(child.stdout)
	if err == nil {
		s.feed.from(NewSplitter(out, out.arrived))
		err = s.reading(ctx, func() error { return s.feed.open(&s.info) })
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.watch.pause()
	return s, nil
}

// Next waits for the next JPEG. After ctx has ended the source is of no more
// use and to be closed.
func (s *execSource) Next(ctx context.Context, f *camera.Frame) error {
	return s.reading(ctx, func() error { return s.feed.next(f) })
}

// reading does a read that the end of ctx interrupts.
func (s *execSource) reading(ctx context.Context, read func() error) error {
	if err := s.watch.on(ctx, s.interrupt); err != nil {
		return err
	}
	err := read()
	if err == nil {
		return nil
	}
	if stopped := s.watch.why(ctx, nil); stopped != nil {
		return fmt.Errorf("%w: %w", stopped, s.clue())
	}
	if errors.Is(err, camera.ErrNoData) { // it gives something else than JPEGs
		return err
	}
	return s.watch.why(ctx, s.ended(ctx))
}

// clue says what the command gave until it was told to end.
func (s *execSource) clue() camera.Symptom {
	seen := "the command runs, but " + s.feed.split.clue()
	if said := s.child.said.soFar(); said != "" {
		seen += "; it says: " + said
	}
	return camera.Symptom(seen)
}

// ended says how the command did, which may take a moment to end after its
// output has.
func (s *execSource) ended(ctx context.Context) error {
	limit := time.NewTimer(s.grace)
	defer limit.Stop()
	how := "has closed its output and goes on"
	select {
	case <-s.child.done:
		how = "has ended (" + s.child.end + ")"
	case <-ctx.Done():
	case <-limit.C:
	}
	if said := s.child.said.text(); said != "" {
		how += ": " + said
	}
	return fmt.Errorf("%w: the command %s", camera.ErrNoData, how)
}

// Info says what the first JPEG was; a command does not tell its rate.
func (s *execSource) Info() camera.Info { return s.info }

// Defects are the JPEGs that were passed over.
func (s *execSource) Defects() camera.Defects { return s.feed.Defects() }

// Close ends the command and all it started. It may be called more than once.
func (s *execSource) Close() error {
	s.watch.off()
	s.child.close(s.grace)
	return nil
}
