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

// Open opens exec:COMMAND or an http(s) URL. It is a camera.Opener.
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
	stream
	process *process
	grace   time.Duration
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
	process, err := startProcess(words)
	if err != nil {
		return nil, err
	}
	// The Grabber gives a source stall_timeout to close.
	s := &execSource{process: process, grace: min(500*time.Millisecond, cfg.StallTimeout/2)}
	s.info.Driver = "exec " + filepath.Base(strings.TrimPrefix(camera.RedactSource("exec:"+words[0]), "exec:"))
	s.info.Latency = cfg.Interval()
	s.interrupt, s.symptom, s.explain = func() { process.close(s.grace) }, s.received, s.ended
	out, err := newTimedReader(process.stdout)
	if err == nil {
		s.use(NewSplitter(out, out.arrived))
		err = s.read(ctx, s.begin)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.forget()
	return s, nil
}

// Next waits for the next JPEG. After ctx has ended the source is of no more
// use and to be closed.
func (s *execSource) Next(ctx context.Context, f *camera.Frame) error {
	return s.read(ctx, func() error { return s.next(f) })
}

// received is what the command gave until it was stopped.
func (s *execSource) received() camera.Symptom {
	seen := "the command runs, but " + s.split.symptom()
	if last := s.process.stderr.text(); last != "" {
		seen += "; stderr: " + last
	}
	return camera.Symptom(seen)
}

// ended describes the command's end, which may come a moment after that of its
// output.
func (s *execSource) ended(ctx context.Context, _ error) error {
	limit := time.NewTimer(s.grace)
	defer limit.Stop()
	end := "has closed its output and goes on"
	select {
	case <-s.process.done:
		end = "has ended (" + s.process.end + ")"
	case <-ctx.Done():
	case <-limit.C:
	}
	if last := s.process.stderr.final(); last != "" {
		end += ": " + last
	}
	return fmt.Errorf("%w: the command %s", camera.ErrNoData, end)
}

// Close ends the command and all it started. It may be called more than once.
func (s *execSource) Close() error {
	s.close()
	s.process.close(s.grace)
	return nil
}
