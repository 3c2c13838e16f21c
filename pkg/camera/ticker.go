package camera

import (
	"context"
	"math"
	"time"
)

// Ticker gives sources that make or read frames at will the rate of a camera.
// Slot n is due (n-1)/fps after the first, so it never drifts; slots missed
// during a pause are left out, so it never bursts. One goroutine uses it.
type Ticker struct {
	fps   float64
	start time.Time
	slot  uint64
	timer *time.Timer
}

// NewTicker starts at the first Wait. fps must be above 0.
func NewTicker(fps float64) *Ticker { return &Ticker{fps: fps} }

// Wait waits for the next slot and returns its number, counted from 1. It ends
// early with ctx's error, or with ErrClosed when stop is closed.
func (t *Ticker) Wait(ctx context.Context, stop <-chan struct{}) (uint64, error) {
	select { // a source that is late all the time must still be stoppable
	case <-stop:
		return 0, ErrClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if t.slot == 0 {
		t.slot, t.start = 1, time.Now()
		return t.slot, nil
	}
	now := time.Since(t.start)
	// The nearest slot: one that is late by less than half an interval is
	// still taken, so that a little jitter costs no frame.
	nearest := uint64(math.Round(now.Seconds()*t.fps)) + 1
	t.slot = max(t.slot+1, nearest)
	if left := t.due(t.slot) - now; left > 0 {
		if err := t.sleep(ctx, stop, left); err != nil {
			return 0, err
		}
	}
	return t.slot, nil
}

func (t *Ticker) due(slot uint64) time.Duration {
	return time.Duration(float64(slot-1) / t.fps * float64(time.Second))
}

func (t *Ticker) sleep(ctx context.Context, stop <-chan struct{}, d time.Duration) error {
	if t.timer == nil {
		t.timer = time.NewTimer(d)
	} else {
		t.timer.Reset(d)
	}
	select {
	case <-t.timer.C:
		return nil
	case <-stop:
		t.timer.Stop()
		return ErrClosed
	case <-ctx.Done():
		t.timer.Stop()
		return ctx.Err()
	}
}
