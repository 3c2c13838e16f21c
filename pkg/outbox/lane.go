package outbox

import (
	"context"
	"slices"
	"sync"

	"framekeeper/internal/async"
)

// maxWaiting bounds the messages of a lane that wait for a link.
const maxWaiting = 10000

// lane is one queue of a Publisher, with its own worker and connection.
type lane struct {
	wake async.Wake

	mu           sync.Mutex // guards all below
	waiting      []*Item
	queued       map[*Item]struct{} // those waiting
	bytes        int64              // of those
	sending      int                // taken from the queue, not yet confirmed
	sendingBytes int64
	refused      bool // Redis refuses to publish, which is logged
	stats        LaneStats
	drained      chan struct{} // closed and replaced when everything was published
}

func newLane() lane {
	return lane{wake: async.NewWake(), queued: map[*Item]struct{}{}, drained: make(chan struct{})}
}

// LaneStats counts messages.
type LaneStats struct {
	Published   uint64 `json:"published"`
	NoReceivers uint64 `json:"unheard"` // published while nobody was subscribed
	Dropped     uint64 `json:"dropped"` // too many waited for the link
	Refused     uint64 `json:"refused"` // Redis answered with an error, or takes no message of that size
	Waiting     int    `json:"waiting"`
}

func (l *lane) put(item *Item, limit int64) (dropped []*Item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, waits := l.queued[item]; waits {
		return nil
	}
	l.waiting = append(l.waiting, item)
	l.queued[item] = struct{}{}
	l.bytes += item.Size()
	for len(l.waiting) > 1 && (l.bytes > limit || len(l.waiting) > maxWaiting) {
		dropped = append(dropped, l.pop())
		l.stats.Dropped++
	}
	l.wake.Call()
	return dropped
}

// pop takes the head out. The caller has mu.
func (l *lane) pop() *Item {
	item := l.waiting[0]
	l.waiting[0] = nil
	l.waiting = l.waiting[1:]
	delete(l.queued, item)
	l.bytes -= item.Size()
	return item
}

// idle reports whether everything was published. The caller has mu.
func (l *lane) idle() bool { return l.sending == 0 && len(l.waiting) == 0 }

func (l *lane) snapshot() LaneStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Waiting = len(l.waiting)
	return s
}

// take moves up to n items or size bytes out of the queue.
func (l *lane) take(n int, size int64) (items []*Item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) > 0 && len(items) < n && (len(items) == 0 || l.waiting[0].Size() <= size) {
		item := l.pop()
		size -= item.Size()
		l.sendingBytes += item.Size()
		items = append(items, item)
	}
	l.sending = len(items)
	return items
}

// putBack puts items back at the head, in their order, but for those that were
// queued again meanwhile.
func (l *lane) putBack(items []*Item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var back []*Item
	for _, item := range items {
		if _, waits := l.queued[item]; waits {
			continue
		}
		l.queued[item] = struct{}{}
		l.bytes += item.Size()
		back = append(back, item)
	}
	l.waiting = slices.Insert(l.waiting, 0, back...)
	l.sending, l.sendingBytes = 0, 0
}

// queue is what waits.
func (l *lane) queue() []*Item {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.waiting)
}

// confirmed counts a published item and its receivers, and reports whether it was
// published for the first time.
func (l *lane) confirmed(item *Item, receivers int64, err error) (first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sendingBytes -= item.Size()
	if err != nil {
		l.stats.Refused++
	} else {
		l.stats.Published++
		first, item.published = !item.published, true
		if receivers == 0 {
			l.stats.NoReceivers++
		}
	}
	l.refused = false
	if l.sending--; l.idle() {
		close(l.drained)
		l.drained = make(chan struct{})
	}
	return first
}

// setRefused notes a refusal, and reports whether it is the first.
func (l *lane) setRefused() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := !l.refused
	l.refused = true
	return first
}

// flush waits until everything queued was published.
func (l *lane) flush(ctx context.Context) error {
	return flush(ctx, &l.mu, func() (bool, <-chan struct{}) { return l.idle(), l.drained })
}
