package frame

import (
	"sync/atomic"
	"time"
)

// Clock turns instants into Unix microseconds along the monotonic clock: the
// wall clock is read once, later steps of it neither reorder frames nor
// stretch a latency. A box that booted in 1970 and then learns the time is
// followed by calling Resync now and then.
type Clock struct {
	anchor atomic.Pointer[time.Time]
	now    func() time.Time
}

// NewClock anchors at the present wall time.
func NewClock() *Clock { return newClock(time.Now) }

func newClock(now func() time.Time) *Clock {
	c := &Clock{now: now}
	t := now()
	c.anchor.Store(&t)
	return c
}

// Micros is the instant in Unix microseconds, 0 for the zero time. The instant
// must come from time.Now or be derived from it, so that it carries a
// monotonic reading.
func (c *Clock) Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	a := *c.anchor.Load()
	return a.UnixMicro() + t.Sub(a).Microseconds()
}

// Now is the present in Unix microseconds.
func (c *Clock) Now() int64 { return c.Micros(c.now()) }

// Resync takes the wall clock as it is now when it has stepped away from the
// anchor by more than tolerance, and returns by how much it had.
func (c *Clock) Resync(tolerance time.Duration) (step time.Duration, moved bool) {
	t := c.now()
	step = time.Duration(t.UnixMicro()-c.Micros(t)) * time.Microsecond
	if step.Abs() <= tolerance {
		return step, false
	}
	c.anchor.Store(&t)
	return step, true
}
