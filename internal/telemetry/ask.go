package telemetry

import (
	"context"
	"time"

	"github.com/rs/zerolog"
)

const (
	// patience is more than a slow disk or bus takes for one reading.
	patience = 3 * time.Second
	// askAgain is how soon what has hung is asked again: each time may cost all of
	// the patience.
	askAgain = 30 * time.Second
)

// readings are asked one after the other, each for a limited time. One goroutine
// at a time may use them.
type readings struct {
	patience time.Duration
	again    time.Duration
	log      zerolog.Logger
	all      map[string]*reading
	hanging  []string // of those asked since it was last emptied
}

// reading is one thing that can be asked for.
type reading struct {
	done  chan struct{} // closed when the last question was answered; nil: none was asked
	since time.Time     // when it was last asked in vain for the first time; zero: it answers
	next  time.Time     // not before
}

// ask has something read, or says nothing in its place when that takes too
// long: a sensor on a stuck bus holds up whoever reads it, and nothing can
// interrupt that. It is not asked again before it has answered, so that one
// goroutine at most is left behind; then its context ends.
func ask[T any](ctx context.Context, r *readings, name string, read func(context.Context) T) (nothing T) {
	one := r.all[name]
	if one == nil {
		one = &reading{}
		r.all[name] = one
	}
	if one.busy() || time.Now().Before(one.next) {
		r.hanging = append(r.hanging, name)
		return nothing
	}
	limited, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	var got T
	done, began := make(chan struct{}), time.Now()
	one.done = done
	go func() {
		defer close(done)
		got = read(limited)
	}()
	select {
	case <-done:
	case <-limited.Done():
	}
	switch {
	case ctx.Err() != nil:
		return nothing
	case limited.Err() != nil:
		r.late(name, one, began)
		return nothing
	}
	r.inTime(name, one)
	return got
}

// busy reports whether the last question is still unanswered.
func (r *reading) busy() bool {
	if r.done == nil {
		return false
	}
	select {
	case <-r.done:
		return false
	default:
		return true
	}
}

func (r *readings) late(name string, one *reading, began time.Time) {
	r.hanging = append(r.hanging, name)
	one.next = time.Now().Add(r.again)
	if one.since.IsZero() {
		one.since = began
		r.log.Warn().Str("reading", name).Int64("for_ms", r.patience.Milliseconds()).Msg("A measurement of the box hangs; telemetry is published without it")
	}
}

// inTime is called for an answer that came in time: one that is only ever late
// does not change the log with each.
func (r *readings) inTime(name string, one *reading) {
	if !one.since.IsZero() {
		r.log.Info().Str("reading", name).Int64("lasted_ms", time.Since(one.since).Milliseconds()).Msg("A measurement of the box works again")
		one.since = time.Time{}
	}
}
