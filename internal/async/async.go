// Package async has the small mechanisms that goroutines of every package
// need: a wake-up that never blocks its sender, a call that is abandoned when it
// does not return in time, and a pause that can be cut short. Every package may use it.
package async

import (
	"context"
	"errors"
	"time"
)

// Wake wakes one goroutine. Wake-ups that come before it looks count as one.
type Wake chan struct{}

// NewWake makes one that nobody has called yet.
func NewWake() Wake { return make(Wake, 1) }

// Call wakes whoever receives from w, now or at its next look. It never blocks.
func (w Wake) Call() {
	select {
	case w <- struct{}{}:
	default:
	}
}

// Pause waits for d and is true, or is false because ctx has ended first.
func Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// ErrAbandoned says that a call did not return in time and goes on by itself.
var ErrAbandoned = errors.New("abandoned, it does not return")

// Abandon runs f, which may hang in a call that cannot be cancelled, and returns
// what it returns. When ctx ends first f is abandoned: its goroutine ends whenever
// f does, and the error wraps ErrAbandoned and the cause of ctx.
func Abandon[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, errors.Join(ErrAbandoned, context.Cause(ctx))
	}
}

// Outlast makes a context that ends when ctx has been over for d: for what is in
// hand when its caller has to end.
func Outlast(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() { time.AfterFunc(d, cancel) })
	return longer, cancel
}
