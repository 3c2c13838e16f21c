// Package reload remembers what came of reading the configuration again. It
// reloads nothing itself; the controller notes each reload in a Memory.
package reload

import (
	"sync"
	"time"

	"framekeeper/internal/status"
)

// Memory is the last reload, as long as the program lives. Any goroutine may use
// it.
type Memory struct {
	mu   sync.Mutex     // guards all below
	last *status.Reload // nil: there was none; never changed in place
	good time.Time      // when all was last taken over
}

// NewMemory is one of a program that has begun with a good configuration then.
func NewMemory(began time.Time) *Memory { return &Memory{good: began} }

// Note is called when a configuration is taken over, or is not. Refused says that
// an error has kept it from changing anything.
func (m *Memory) Note(refused bool, err error, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = status.NewReload(refused, err, now)
	if m.last.OK {
		m.good = now
	}
}

// Last is what came of the last reload; nil if there was none.
func (m *Memory) Last(now time.Time) *status.Reload {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last == nil {
		return nil
	}
	o := *m.last
	o.AgoS = now.Sub(o.At).Round(time.Millisecond).Seconds()
	o.At = asSetNow(o.At, now)
	return &o
}

// Good says when the configuration was last taken over, by the start or by a
// reload, and whether no reload has failed since.
func (m *Memory) Good(now time.Time) (at time.Time, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return asSetNow(m.good, now), m.last == nil || m.last.OK
}

// asSetNow is a time of ours by the clock as it is now: a box without a battery
// begins in 1970 and learns the time later. Whole seconds hide what two readings
// of the clock differ by.
func asSetNow(at, now time.Time) time.Time {
	return now.Add(-now.Sub(at)).Round(time.Second)
}
