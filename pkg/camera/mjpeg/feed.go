package mjpeg

import (
	"context"
	"fmt"
	"sync"

	"framekeeper/pkg/camera"
)

// maxRefused is how many JPEGs in a row may be of no use before that is an
// error: the stream is not what it should be, and waiting does not help.
const maxRefused = 30

// feed makes a Splitter's JPEGs into frames.
type feed struct {
	camera.DefectCount
	split   *Splitter
	whole   uint64 // JPEGs
	pending bool   // first holds a frame that was read while opening
	first   camera.Frame
}

// from makes frames of what the Splitter finds.
func (d *feed) from(split *Splitter) {
	d.split = split
	split.spoilt = func() { d.AddDefect("cut short, too large or no JPEG after all") }
}

// next reads the next frame. Frame.Seq counts what came, so that JPEGs passed
// over are gaps in it and counted as skipped.
func (d *feed) next(f *camera.Frame) error {
	if d.pending {
		d.pending = false
		d.first.Data, f.Data = nil, d.first.Data
		f.Format, f.Width, f.Height = d.first.Format, d.first.Width, d.first.Height
		f.Captured, f.Seq = d.first.Captured, d.first.Seq
		return nil
	}
	for refused := 0; ; {
		data, first, err := d.split.Next(f.Data)
		f.Data = data
		if err != nil {
			return err
		}
		d.whole++
		j, err := camera.InspectJPEG(data)
		if err != nil {
			d.AddDefect(err.Error())
			if refused++; refused == maxRefused {
				return fmt.Errorf("%w that can be used: %w", camera.ErrNoData, err)
			}
			continue
		}
		f.Data = j.InPlace(data)
		f.Format, f.Width, f.Height = camera.MJPEG, j.Width, j.Height
		f.Captured, f.Seq = first, d.whole+d.split.Broken()
		return nil
	}
}

// open reads the first frame and says what the source gives.
func (d *feed) open(info *camera.Info) error {
	if err := d.next(&d.first); err != nil {
		return err
	}
	d.pending = true
	info.Width, info.Height, info.Format = d.first.Width, d.first.Height, camera.MJPEG
	return nil
}

// watch ends a read when a context ends. Next is called with the same one over
// and over, which costs nothing.
type watch struct {
	mu     sync.Mutex // guards all below
	closed bool
	done   <-chan struct{}
	stop   func() bool
}

// on has end called when ctx ends. It says camera.ErrClosed after off.
func (w *watch) on(ctx context.Context, end func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return camera.ErrClosed
	case w.stop != nil && w.done == ctx.Done():
		return nil
	case w.stop != nil:
		w.stop()
	}
	w.done, w.stop = ctx.Done(), context.AfterFunc(ctx, end)
	return nil
}

// pause forgets the context: that of opening may end when it is over.
func (w *watch) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stop != nil {
		w.stop()
	}
	w.done, w.stop = nil, nil
}

// off ends the watching for good, and says whether that is new.
func (w *watch) off() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.closed = true
	if w.stop != nil {
		w.stop()
	}
	return true
}

// why is err as Next returns it: the end of ctx or of the source goes before
// what followed from it.
func (w *watch) why(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil {
		return cause
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return camera.ErrClosed
	}
	return err
}
