package datatransfer

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// waiting is the pause between two sessions: exponential, jittered, bounded.
type waiting struct{ b *backoff.ExponentialBackOff }

func newBackoff(low, high time.Duration) waiting {
	const jitter = 0.4 // either way; the longest wait is high, not above it
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = low, time.Duration(float64(high)/(1+jitter))
	b.Multiplier, b.RandomizationFactor = 2, jitter
	b.Reset()
	return waiting{b}
}

func (w waiting) reset() { w.b.Reset() }

// sleep waits for the next pause, at least for least; false when ctx ends first.
func (w waiting) sleep(ctx context.Context, least time.Duration) bool {
	t := time.NewTimer(max(w.b.NextBackOff(), least))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
