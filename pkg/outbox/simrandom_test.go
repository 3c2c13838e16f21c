package outbox

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// simRandom makes all random choices of a simulation. Each operation of a plan has a
// seed of its own, so that an operation left out does not change those after it.
type simRandom struct{ *rand.Rand }

func newSimRandom(seed, stream uint64) simRandom {
	return simRandom{rand.New(rand.NewPCG(seed, stream))}
}

// percent is true n times of a hundred.
func (r simRandom) percent(n int) bool { return r.IntN(100) < n }

// between is a duration from a to b, the short ones more often.
func (r simRandom) between(a, b time.Duration) time.Duration {
	x := r.Float64()
	return a + time.Duration(x*x*float64(b-a))
}

// oneOf is one of the choices.
func oneOf[T any](r simRandom, choices ...T) T { return choices[r.IntN(len(choices))] }

// simTrace is what happened, as a hash and, if wanted, as text.
type simTrace struct {
	hash  uint64
	print func(string) // nil: the hash alone
	now   func() time.Duration
}

// note adds an event.
func (t *simTrace) note(format string, args ...any) {
	line := fmt.Sprintf("%12.3f ", t.now().Seconds()) + fmt.Sprintf(format, args...)
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%x %s", t.hash, line) // a hash takes everything
	t.hash = h.Sum64()
	if t.print != nil {
		t.print(line)
	}
}
