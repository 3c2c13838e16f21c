package receiver

import (
	"encoding/json"
	"math"
	"math/bits"
	"sync"
	"time"

	"framekeeper/internal/text"
)

// histogram counts durations in buckets that are 3% wide, in fixed memory.
type histogram struct {
	mu sync.Mutex // guards d
	d  distribution
}

// distribution is a histogram at one instant. Values are microseconds: exact
// below 64, above that 32 buckets for every power of two up to 2^40 (12 days).
type distribution struct {
	counts [36 * 32]uint32
	n      uint64
	max    time.Duration
}

func (h *histogram) add(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.d.counts[bucket(d)]++
	h.d.n++
	h.d.max = max(h.d.max, d)
}

func (h *histogram) snapshot() distribution {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.d
}

func bucket(d time.Duration) int {
	us := uint64(max(d, 0) / time.Microsecond)
	shift := max(0, bits.Len64(us)-6)
	return min(shift*32+int(us>>shift), len(distribution{}.counts)-1)
}

// middle of bucket i.
func middle(i int) time.Duration {
	if i < 64 {
		return time.Duration(i) * time.Microsecond
	}
	shift := i/32 - 1
	low := uint64(i%32+32) << shift
	return time.Duration(low+uint64(1)<<shift/2) * time.Microsecond
}

// quantile is the value that a share q of all values does not exceed; 0 for none.
func (d *distribution) quantile(q float64) time.Duration {
	if d.n == 0 {
		return 0
	}
	rank := max(1, uint64(math.Ceil(q*float64(d.n))))
	var seen uint64
	for i, c := range d.counts {
		if seen += uint64(c); seen >= rank {
			if d.max > 0 {
				return min(middle(i), d.max)
			}
			return middle(i)
		}
	}
	return d.max
}

// since is what came after an earlier snapshot of the same histogram; its max
// is not known.
func (d *distribution) since(earlier *distribution) distribution {
	diff := distribution{n: d.n - earlier.n}
	for i := range d.counts {
		diff.counts[i] = d.counts[i] - earlier.counts[i]
	}
	return diff
}

// merge adds another distribution.
func (d *distribution) merge(other *distribution) {
	for i, c := range other.counts {
		d.counts[i] += c
	}
	d.n += other.n
	d.max = max(d.max, other.max)
}

// latency is a duration as people read latencies, and in JSON milliseconds.
type latency time.Duration

func (l latency) String() string { return text.Milliseconds(time.Duration(l)) }

func (l latency) MarshalJSON() ([]byte, error) {
	return json.Marshal(float64(l) / float64(time.Millisecond))
}
