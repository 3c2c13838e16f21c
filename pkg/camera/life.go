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

var errAbandoned = errors.New("source abandoned")

// life is one opening of the source, until it is closed again. Its fields are
// guarded by the Grabber's mu.
type life struct {
	g          *Grabber
	ready      chan struct{} // closed when the source is open
	started    time.Time
	opened     time.Time     // zero until then
	stallAfter time.Duration // without a frame
	lastFrame  time.Time
	lastChange time.Time // last new frame: one that differed from the one before, with frozen_timeout
	lastSeq    uint64
	counted    bool // lastSeq is known
	fresh      bool // it gave a new frame
	abandoned  bool // nothing it still delivers counts
}

// live opens the source, drains it and closes it. gave says for how long it gave
// new frames, 0 if it gave none. One goroutine does all three; this one watches
// it.
func (g *Grabber) live(ctx context.Context) (gave time.Duration, err error) {
	l := &life{g: g, ready: make(chan struct{}), started: time.Now(), stallAfter: max(g.cfg.StallTimeout, twoFrames(g.cfg.FPS))}
	defer func() {
		g.mu.Lock()
		l.abandoned = true
		if l.fresh {
			gave = max(l.lastChange.Sub(l.opened), 1)
		}
		g.mu.Unlock()
	}()
	lifeCtx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- l.read(lifeCtx) }()

	g.expect(g.firstLook())
	watchdog := time.NewTimer(g.firstLook())
	defer watchdog.Stop()
	for ready := l.ready; ; {
		select {
		case <-ready: // what may take long is over; from now on it is about frames
			ready = nil
			g.expect(g.firstLook())
			watchdog.Reset(g.firstLook())
		case err := <-done:
			return 0, err
		case <-ctx.Done():
			return 0, g.await(ctx, done, "the agent is stopping")
		case <-watchdog.C:
			left, trouble := l.check(time.Now())
			if trouble == nil {
				g.expect(left)
				watchdog.Reset(left)
				continue
			}
			g.setState(StateStalled, trouble.Error())
			stop()
			if err := g.await(ctx, done, trouble.Error()); errors.Is(err, ErrStuck) {
				return 0, err
			}
			return 0, trouble
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

// firstLook is the earliest moment check can find anything.
func (g *Grabber) firstLook() time.Duration {
	if g.cfg.FrozenTimeout > 0 {
		return min(g.cfg.StallTimeout, g.cfg.FrozenTimeout, openTimeout)
	}
	return min(g.cfg.StallTimeout, openTimeout)
}

// await gives the reading goroutine stall_timeout to end after it was told to,
// less when the agent is stopping. why is the reason it was told.
func (g *Grabber) await(ctx context.Context, done <-chan error, why string) error {
	g.expect(g.cfg.StallTimeout)
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
			return fmt.Errorf("%w: %s is still busy after it was told to close (%s)", ErrStuck, ShownSource(g.cfg.Source), why)
		}
	}
}

// check is the watchdog's look: either what is wrong, or how long it may take
// at the soonest until something can be.
func (l *life) check(now time.Time) (left time.Duration, trouble error) {
	g := l.g
	g.mu.Lock()
	defer g.mu.Unlock()
	if l.opened.IsZero() {
		left = max(openTimeout, l.stallAfter) - now.Sub(l.started)
		trouble = fmt.Errorf("%w: opening it takes longer than %v", ErrNoData, max(openTimeout, l.stallAfter))
	} else {
		left = l.stallAfter - now.Sub(l.lastFrame)
		trouble = fmt.Errorf("%w for %v", ErrNoData, l.stallAfter)
		if frozen := g.cfg.FrozenTimeout; frozen > 0 && frozen-now.Sub(l.lastChange) < left {
			left = frozen - now.Sub(l.lastChange)
			trouble = fmt.Errorf("%w but the same image for %v", ErrNoData, frozen)
		}
	}
	if left > 0 {
		return left, nil
	}
	g.health.Stalls++
	l.abandoned = true // what comes now comes too late
	if g.downFrom.IsZero() {
		g.downFrom = now
	}
	return 0, trouble
}

// read is the one goroutine that touches the source.
func (l *life) read(ctx context.Context) error {
	shown := ShownSource(l.g.cfg.Source)
	src, err := l.g.opener(ctx, l.g.toOpen())
	if err != nil {
		return fmt.Errorf("open %s: %w", shown, err)
	}
	l.open(src.Info())
	defects, _ := src.(DefectCounter)
	l.g.setDefects(defects)
	err = l.drain(ctx, src)
	if cerr := src.Close(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("close: %w", cerr))
	}
	l.g.setDefects(nil)
	return fmt.Errorf("read %s: %w", shown, err)
}

func (l *life) drain(ctx context.Context, src Source) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		l.g.obey(src)
		f := l.g.pool.get()
		if err := src.Next(ctx, f); err != nil {
			f.Release()
			return err
		}
		if err := l.deliver(f); err != nil {
			return err
		}
	}
}

// open takes note of what the source turned out to deliver.
func (l *life) open(info Info) {
	g, now := l.g, time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if l.abandoned {
		return
	}
	l.opened, l.lastFrame, l.lastChange = now, now, now
	l.stallAfter = max(l.stallAfter, twoFrames(info.FPS))
	close(l.ready)
	g.latency.Store(int64(info.Latency))
	g.health.Info = info
	g.rate.reset()
}
