package camera

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// openTimeout bounds the opening of a source; network cameras and some USB
	// ones take seconds until they have agreed on a format.
	openTimeout = 10 * time.Second
	// stopTimeout bounds how long a shutdown waits for a source, however long
	// stall_timeout is: the whole agent has 5 s.
	stopTimeout = 2 * time.Second
)

// acquire opens the source, drains it and closes it again, in a goroutine of its
// own that this one watches. yield is for how long it gave new frames.
func (g *Grabber) acquire(ctx context.Context) (yield time.Duration, err error) {
	a := &acquisition{ready: make(chan struct{}), started: time.Now(), stallAfter: max(g.cfg.StallTimeout, twoFrames(g.cfg.FPS))}
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		a.abandoned = true
		yield = a.yield()
	}()
	readCtx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- g.read(readCtx, a) }()

	g.setDeadline(g.firstCheck())
	watchdog := time.NewTimer(g.firstCheck())
	defer watchdog.Stop()
	for ready := a.ready; ; {
		select {
		case <-ready: // what may take long is over; from now on it is about frames
			ready = nil
			g.setDeadline(g.firstCheck())
			watchdog.Reset(g.firstCheck())
		case err := <-done:
			return 0, err
		case <-ctx.Done():
			return 0, g.awaitClose(ctx, done, "the agent is stopping")
		case <-watchdog.C:
			left, trouble := g.check(a, time.Now())
			if trouble == nil {
				g.setDeadline(left)
				watchdog.Reset(left)
				continue
			}
			g.setState(StateStalled, trouble.Error())
			stop()
			err := g.awaitClose(ctx, done, trouble.Error())
			if errors.Is(err, ErrHung) {
				return 0, err
			}
			return 0, WithSymptom(trouble, err)
		}
	}
}

// twoFrames is how long a source of that rate may well be silent: at 0.1 fps
// the usual stall_timeout would be over before the first frame is due.
func twoFrames(fps float64) time.Duration {
	if !(fps > 0) {
		return 0
	}
	return time.Duration(2 / fps * float64(time.Second))
}

// firstCheck is the earliest moment check can find anything.
func (g *Grabber) firstCheck() time.Duration {
	if g.cfg.FrozenTimeout > 0 {
		return min(g.cfg.StallTimeout, g.cfg.FrozenTimeout, openTimeout)
	}
	return min(g.cfg.StallTimeout, openTimeout)
}

// check returns either what is wrong, or how long it takes at least until
// something can be.
func (g *Grabber) check(a *acquisition, now time.Time) (left time.Duration, trouble error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if a.opened.IsZero() {
		left = max(openTimeout, a.stallAfter) - now.Sub(a.started)
		trouble = fmt.Errorf("%w: opening it takes longer than %v", ErrNoData, max(openTimeout, a.stallAfter))
	} else {
		left = a.stallAfter - now.Sub(a.lastFrame)
		trouble = fmt.Errorf("%w for %v", ErrNoData, a.stallAfter)
		if frozen := g.cfg.FrozenTimeout; frozen > 0 && frozen-now.Sub(a.lastChange) < left {
			left = frozen - now.Sub(a.lastChange)
			trouble = fmt.Errorf("%w but the same image for %v", ErrNoData, frozen)
		}
	}
	if left > 0 {
		return left, nil
	}
	g.health.Stalls++
	a.abandoned = true // what comes now comes too late
	if g.downSince.IsZero() {
		g.downSince = now
	}
	return 0, trouble
}

// awaitClose gives the reading goroutine, which was stopped because of why,
// stall_timeout to end, or less when the agent is stopping.
func (g *Grabber) awaitClose(ctx context.Context, done <-chan error, why string) error {
	g.setDeadline(g.cfg.StallTimeout)
	limit := time.NewTimer(g.cfg.StallTimeout)
	defer limit.Stop()
	stopping := ctx.Done()
	for {
		select {
		case err := <-done:
			return err
		case <-stopping:
			stopping = nil
			limit.Reset(min(g.cfg.StallTimeout, stopTimeout))
		case <-limit.C:
			return fmt.Errorf("%w: %s is still busy after it was asked to close (%s)", ErrHung, RedactSource(g.cfg.Source), why)
		}
	}
}

// Hung is for how long Run's goroutine has been late for its own next step; 0: it
// is in time. It watches the source, so while it keeps time, either new frames
// arrive or the source is being opened, closed or waited for. Once it does not,
// the camera's state is unknown, and only a fresh process helps.
func (g *Grabber) Hung() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.deadline.IsZero() {
		return 0
	}
	return max(0, time.Since(g.deadline))
}

// setDeadline announces that Run's goroutine acts again within d.
func (g *Grabber) setDeadline(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deadline = time.Now().Add(d)
}
