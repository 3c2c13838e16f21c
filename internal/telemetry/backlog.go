package telemetry

import (
	"sync"
	"time"

	"framekeeper/internal/async"
)

// How much is kept while nothing can be published: the last hour, unless that
// is more than a small box should hold.
const (
	keepFor   = time.Hour
	keepCount = 3600
	keepBytes = 4 << 20
)

// Backlog holds the samples that have not been published yet, in order. What
// is too old or too much goes from the front. All methods may be called from any
// goroutine.
type Backlog struct {
	now   func() time.Time
	added async.Wake // a sample was

	mu      sync.Mutex // guards all below
	entries []entry
	bytes   int
}

// entry is one sample and when it was taken, by a clock that does not jump.
type entry struct {
	sample *Sample
	at     time.Time
	size   int
}

// NewBacklog makes an empty one.
func NewBacklog() *Backlog {
	return &Backlog{now: time.Now, added: async.NewWake()}
}

// add appends a sample.
func (b *Backlog) add(s *Sample) {
	payload, err := s.Payload("json") // its size in memory is about the same
	if err != nil {
		return // cannot be published either
	}
	b.mu.Lock()
	b.entries = append(b.entries, entry{sample: s, at: b.now(), size: len(payload)})
	b.bytes += len(payload)
	b.trim()
	b.mu.Unlock()
	b.added.Call()
}

// trim drops from the front what is beyond the bounds. The caller holds mu.
func (b *Backlog) trim() {
	n := 0
	for ; n < len(b.entries)-1; n++ {
		if e := &b.entries[n]; len(b.entries)-n <= keepCount && b.bytes <= keepBytes && b.now().Sub(e.at) <= keepFor {
			break
		}
		b.bytes -= b.entries[n].size
	}
	b.drop(n)
}

// drop forgets the first n. The caller holds mu and has settled bytes.
func (b *Backlog) drop(n int) {
	clear(b.entries[:n])
	b.entries = b.entries[n:]
}

// oldest is what is to be published next. Where a time cannot be sent with it,
// only the newest is of use, and what is older is dropped.
func (b *Backlog) oldest(timeless bool) (entry, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trim()
	if n := len(b.entries); timeless && n > 1 {
		b.drop(n - 1)
		b.bytes = b.entries[0].size
	}
	if len(b.entries) == 0 {
		return entry{}, false
	}
	return b.entries[0], true
}

// published removes an entry, unless it had to go meanwhile.
func (b *Backlog) published(e entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.entries) > 0 && b.entries[0].sample == e.sample {
		b.bytes -= e.size
		b.drop(1)
	}
}

// stamped is the sample with the time at which it was taken, as the wall clock
// has it now: a box may learn the time only after it has measured.
func (b *Backlog) stamped(e entry) *Sample {
	s := *e.sample
	now := b.now()
	s.TimeUS = now.Add(-now.Sub(e.at)).UnixMicro()
	return &s
}
