package controller

import (
	"context"
	"sync"
	"time"

	"framekeeper/internal/metrics"
	"framekeeper/internal/unowned"
)

const (
	// lookAgain is how often somebody may have removed a camera by other means
	// than a reload: never, as a rule.
	lookAgain = time.Hour
	// lookSoon is the same as long as there is something that somebody may take
	// away, or that is just being used.
	lookSoon = 5 * time.Minute
	// lookEnd is how long the end of the controller waits for a disk.
	lookEnd = time.Second
)

// leftovers knows of frames on disk that are no camera's. Looking for them may
// hang with a disk; nobody waits for it, and what was found last counts.
type leftovers struct {
	again chan struct{} // capacity 1: cameras or places have changed

	mu     sync.Mutex // guards all below
	looked bool
	found  []unowned.Spool // never changed in place
}

func newLeftovers() *leftovers { return &leftovers{again: make(chan struct{}, 1)} }

// look has them looked for again now.
func (l *leftovers) look() {
	select {
	case l.again <- struct{}{}:
	default: // it has yet to begin
	}
}

// list is what was found last; looked is false before the first time.
func (l *leftovers) list() (found []unowned.Spool, looked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.found, l.looked
}

// tidyUp looks for frames without a camera at the start, after each reload and
// rarely afterwards. It deletes nothing: they were promised to somebody.
func (b *box) tidyUp(ctx context.Context) error {
	told := map[string]bool{}
	for {
		wait := b.findLeftovers(ctx, told)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-b.leftovers.again:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// findLeftovers looks once, tells what is new, and says when to look again.
func (b *box) findLeftovers(ctx context.Context, told map[string]bool) time.Duration {
	type result struct {
		found []unowned.Spool
		busy  bool
		err   error
	}
	place := b.place()
	done := make(chan result, 1)
	go func() { // one that hangs is left behind at the end
		found, busy, err := unowned.Find(ctx, place)
		done <- result{found, busy, err}
	}()
	var r result
	select {
	case r = <-done:
	case <-ctx.Done():
		limit := time.NewTimer(lookEnd)
		defer limit.Stop()
		select {
		case <-done:
		case <-limit.C:
		}
	}
	if ctx.Err() != nil {
		return 0 // it was cut off, and may have missed some
	}
	if r.err != nil {
		b.logger().Debug().Err(r.err).Msg("not everything could be looked through for frames without a camera")
	}
	b.leftovers.mu.Lock()
	b.leftovers.looked, b.leftovers.found = true, r.found
	b.leftovers.mu.Unlock()
	for _, s := range r.found {
		if !told[s.Dir] {
			b.logger().Warn().Str("camera", s.Camera).Str("dir", s.Dir).Int("frames", s.Frames).Int64("bytes", s.Bytes).Str("advice", s.Advice()).
				Msg("frames wait on disk for a camera that is not configured")
		}
		told[s.Dir] = true
	}
	if r.busy || len(r.found) > 0 {
		return lookSoon
	}
	return lookAgain
}

// place is where to look, as it is configured now.
func (b *box) place() unowned.Place {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := unowned.Place{StateDir: b.cfg.StateDir, SpoolDir: b.cfg.Delivery.SpoolDir}
	for i := range b.cfg.Cameras {
		p.Cameras = append(p.Cameras, b.cfg.Cameras[i].Name)
	}
	return p
}

// readLeftovers gives the figures of one scrape.
func (b *box) readLeftovers(v metrics.Values) {
	found, looked := b.leftovers.list()
	if !looked {
		return
	}
	var frames, bytes float64
	for _, s := range found {
		frames += float64(s.Frames)
		bytes += float64(s.Bytes)
	}
	v.Set("spool_unowned_frames", frames)
	v.Set("spool_unowned_bytes", bytes)
}
