package control

import "time"

// bucket lets so many through in a second, after a pause as many at once. Its
// owner locks.
type bucket struct {
	rate, tokens float64
	filled       time.Time
}

func newBucket(rate float64, now time.Time) bucket { return bucket{rate, rate, now} }

func (b *bucket) take(now time.Time) bool {
	b.tokens = min(b.tokens+now.Sub(b.filled).Seconds()*b.rate, b.rate)
	b.filled = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
