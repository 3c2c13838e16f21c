package redistest

import (
	"context"
	"sync"
	"time"
)

const (
	// chunkSize is how much is read at a time, and the most that is written
	// between two looks at the settings.
	chunkSize = 16 << 10
	// What one connection may have inside the proxy, per direction: little, so
	// that a slow reader is felt; while stalled, as much as a test may send.
	heldNormal  = 64 << 10
	heldDelayed = 16 << 20
	heldStalled = 64 << 20
	// pieceTime is how much of a limited line one piece may take up.
	pieceTime = 5 * time.Millisecond
)

// line is one direction of a proxy: the faults set for it, shared by all
// connections, and its byte count.
type line struct {
	mu      sync.Mutex    // guards the fields below
	changed chan struct{} // closed and replaced when a setting changes
	stalled bool
	delay   time.Duration
	rate    float64   // bytes a second; 0: no limit
	free    time.Time // when the limited line has sent all it was given
	cutIn   int64     // bytes until the cut; 0: none planned
	bytes   int64
}

func newLine() *line { return &line{changed: make(chan struct{})} }

func (l *line) set(change func(*line)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
	if now := time.Now(); l.free.Before(now) { // what waited in the dark begins now
		l.free = now
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *line) passed() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes
}

// room is how much a connection may hold now, and a channel that says when that
// may have changed.
func (l *line) room() (int, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.stalled && l.rate <= 0:
		return heldStalled, l.changed
	case l.rate > 0: // dark or not: what a line holds depends on its speed and length
		return heldNormal + int(l.rate*l.delay.Seconds()), l.changed
	case l.delay > 0:
		return heldDelayed, l.changed
	}
	return heldNormal, l.changed
}

func (l *line) limited() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rate > 0
}

// pass waits until bytes that came in at the given time may go on, and returns
// how many of n may. It returns 0 when ctx has ended.
func (l *line) pass(ctx context.Context, at time.Time, n int) int {
	for ctx.Err() == nil {
		allowed, wait, changed := l.look(at, n)
		if allowed > 0 && wait <= 0 {
			return allowed
		}
		if !sleep(ctx, wait, changed) {
			continue // a setting changed, or ctx ended
		}
		if allowed > 0 {
			return allowed
		}
	}
	return 0
}

// look decides about n bytes: how many have been given their turn on the line
// and when that is over, or 0 and how long to wait before looking again (a
// negative wait: until a setting changes).
func (l *line) look(at time.Time, n int) (allowed int, wait time.Duration, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	due := at.Add(l.delay).Sub(now)
	switch {
	case l.stalled:
		return 0, -1, l.changed
	case due > 0:
		return 0, due, l.changed
	case l.rate <= 0:
		return min(n, chunkSize), 0, l.changed
	}
	piece := min(n, chunkSize, max(1, int(l.rate*pieceTime.Seconds())))
	// A line that is free takes up what has arrived when that arrived, however
	// late that is noticed: a busy machine must not make it slower than it is.
	if arrived := at.Add(l.delay); l.free.Before(arrived) {
		l.free = arrived
	}
	l.free = l.free.Add(time.Duration(float64(piece) / l.rate * float64(time.Second)))
	return piece, l.free.Sub(now), l.changed
}

// sleep waits (for ever if d is negative) and reports whether it waited to the end.
func sleep(ctx context.Context, d time.Duration, changed <-chan struct{}) bool {
	var end <-chan time.Time
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		end = timer.C
	}
	select {
	case <-end:
		return true
	case <-changed:
	case <-ctx.Done():
	}
	return false
}

// take counts n bytes that are about to be written and returns how many of them
// may be before the connection is to be cut.
func (l *line) take(n int) (allowed int, cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cutIn > 0 {
		if int64(n) >= l.cutIn {
			n, cut = int(l.cutIn), true
		}
		l.cutIn -= int64(n)
	}
	l.bytes += int64(n)
	return n, cut
}
