package controller

import (
	"sync"
	"time"

	"framekeeper/internal/status"
)

// outcomes is what came of the last reload, as long as the program lives. Any
// goroutine may use it.
type outcomes struct {
	mu   sync.Mutex     // guards all below
	last *status.Reload // nil: there was none; never changed in place
	good time.Time      // when all was last taken over
}

// newOutcomes is for a program that has begun with a good configuration then.
func newOutcomes(began time.Time) *outcomes { return &outcomes{good: began} }

// note is called when a configuration is taken over, or is not. Refused says that
// an error has kept it from changing anything.
func (o *outcomes) note(refused bool, err error, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = status.NewReload(refused, err, now)
	if o.last.OK {
		o.good = now
	}
}

// latest is what came of the last reload; nil if there was none.
func (o *outcomes) latest(now time.Time) *status.Reload {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last == nil {
		return nil
	}
	last := *o.last
	last.AgoS = now.Sub(last.At).Round(time.Millisecond).Seconds()
	last.At = asSetNow(last.At, now)
	return &last
}

// lastGood is when the configuration was last taken over, by the start or by a
// reload, and whether no reload has failed since.
func (o *outcomes) lastGood(now time.Time) (at time.Time, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return asSetNow(o.good, now), o.last == nil || o.last.OK
}

// asSetNow is a time of ours by the clock as it is now: a box without a battery
// begins in 1970 and learns the time later. Whole seconds hide what two readings
// of the clock differ by.
func asSetNow(at, now time.Time) time.Time {
	return now.Add(-now.Sub(at)).Round(time.Second)
}
