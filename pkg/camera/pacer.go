package camera

import (
	"context"
	"errors"
	"math"
	"time"
)

// ErrClosed is what a source's Next returns after Close.
var ErrClosed = errors.New("source is closed")

// Pacer gives sources that make or read frames at will the rhythm of a camera.
// Slot n is due (n-1)/fps after the first, so it never drifts; slots missed
// during a pause are left out, so it never bursts. One goroutine uses it.
type Pacer struct {
	fps   float64
	start time.Time
	slot  uint64
	timer *time.Timer
}

// NewPacer starts at the first Wait. fps must be above 0.
func NewPacer(fps float64) *Pacer { return &Pacer{fps: fps} }

// Wait waits for the next slot and returns its number, counted from 1. It ends
// early with ctx's error, or with ErrClosed when stop is closed.
func (p *Pacer) Wait(ctx context.Context, stop <-chan struct{}) (uint64, error) {
	select { // a source that is late all the time must still be stoppable
	case <-stop:
		return 0, ErrClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if p.slot == 0 {
		p.slot, p.start = 1, time.Now()
		return p.slot, nil
	}
	now := time.Since(p.start)
	// The nearest slot: one that is late by less than half an interval is
	// still taken, so that a little jitter costs no frame.
	nearest := uint64(math.Round(now.Seconds()*p.fps)) + 1
	p.slot = max(p.slot+1, nearest)
	if left := p.due(p.slot) - now; left > 0 {
		if err := p.sleep(ctx, stop, left); err != nil {
			return 0, err
		}
	}
	return p.slot, nil
}

func (p *Pacer) due(slot uint64) time.Duration {
	return time.Duration(float64(slot-1) / p.fps * float64(time.Second))
}

func (p *Pacer) sleep(ctx context.Context, stop <-chan struct{}, d time.Duration) error {
	if p.timer == nil {
		p.timer = time.NewTimer(d)
	} else {
		p.timer.Reset(d)
	}
	select {
	case <-p.timer.C:
		return nil
	case <-stop:
		p.timer.Stop()
		return ErrClosed
	case <-ctx.Done():
		p.timer.Stop()
		return ctx.Err()
	}
}
