package mjpeg

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"framekeeper/pkg/camera"
)

// maxRefused is how many JPEGs in a row may be unusable before that is an error:
// the stream is not what it should be, and waiting does not help.
const maxRefused = 30

// stream is the common part of this package's sources: a Splitter's JPEGs made
// into frames, by reads that the end of a context or Close interrupts.
type stream struct {
	camera.DefectCount
	interrupter
	info  camera.Info
	split *Splitter
	whole uint64        // JPEGs
	first *camera.Frame // read while opening, not yet handed out; nil: none

	symptom func() camera.Symptom              // what came until the source was stopped
	explain func(context.Context, error) error // gives a read's error its kind
}

func (s *stream) use(split *Splitter) {
	s.split = split
	split.broke = func() { s.AddDefect("cut short, too large or no JPEG after all") }
}

// Info describes the first JPEG; neither a command nor a stream states its rate.
func (s *stream) Info() camera.Info { return s.info }

// next reads the next frame. Frame.Seq counts what came, so that JPEGs passed
// over are gaps in it and counted as skipped.
func (s *stream) next(f *camera.Frame) error {
	if first := s.first; first != nil {
		s.first = nil
		f.Data, f.Format, f.Width, f.Height = first.Data, first.Format, first.Width, first.Height
		f.Captured, f.Seq = first.Captured, first.Seq
		return nil
	}
	for refused := 0; ; {
		data, arrived, err := s.split.Next(f.Data)
		f.Data = data
		if err != nil {
			return err
		}
		s.whole++
		if s.split.placeholder {
			s.AddDefect(errOffline.Error())
			return errOffline
		}
		j, err := camera.InspectJPEG(data)
		if err != nil {
			s.AddDefect(err.Error())
			if refused++; refused == maxRefused {
				return fmt.Errorf("%w that can be used: %w", camera.ErrNoData, err)
			}
			continue
		}
		f.Data = j.InPlace(data)
		f.Format, f.Width, f.Height = camera.MJPEG, j.Width, j.Height
		f.Captured, f.Seq = arrived, s.whole+s.split.Broken()
		return nil
	}
}

// begin reads the first frame, which completes Info.
func (s *stream) begin() error {
	first := new(camera.Frame)
	if err := s.next(first); err != nil {
		return err
	}
	s.first = first
	s.info.Width, s.info.Height, s.info.Format = first.Width, first.Height, camera.MJPEG
	return nil
}

// read calls f, which reads, and interrupts it when ctx ends. The end of ctx or of
// the source goes before an error that followed from it.
func (s *stream) read(ctx context.Context, f func() error) error {
	if err := s.watch(ctx); err != nil {
		return err
	}
	err := f()
	if err == nil {
		return nil
	}
	if cause := s.cause(ctx); cause != nil {
		return fmt.Errorf("%w: %w", cause, s.symptom())
	}
	if errors.Is(err, camera.ErrNoData) || errors.Is(err, camera.ErrNoDevice) || errors.Is(err, camera.ErrBusy) || errors.Is(err, camera.ErrRefused) {
		return err
	}
	err = s.explain(ctx, err)
	if cause := s.cause(ctx); cause != nil {
		return cause
	}
	return err
}

// interrupter ends a read when a context ends. Next is called with the same one
// over and over, which costs nothing.
type interrupter struct {
	interrupt func() // makes a read return; made once, so that Next allocates nothing

	mu     sync.Mutex // guards all below
	closed bool
	done   <-chan struct{} // of the context that is watched
	stop   func() bool     // ends watching it; nil: none is watched
}

// watch has interrupt called when ctx ends. It returns camera.ErrClosed after close.
func (i *interrupter) watch(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.closed:
		return camera.ErrClosed
	case i.stop != nil && i.done == ctx.Done():
		return nil
	}
	i.unwatch()
	i.done, i.stop = ctx.Done(), context.AfterFunc(ctx, i.interrupt)
	return nil
}

// forget ends watching the context of opening, which may end when that is over.
func (i *interrupter) forget() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.unwatch()
}

func (i *interrupter) unwatch() {
	if i.stop != nil {
		i.stop()
		i.stop = nil
	}
}

// close ends the watching for good, and reports whether it was the first to.
func (i *interrupter) close() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.unwatch()
	first := !i.closed
	i.closed = true
	return first
}

// cause is why a read was interrupted; nil: it was not.
func (i *interrupter) cause(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return camera.ErrClosed
	}
	return nil
}
