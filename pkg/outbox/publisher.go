package outbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/pkg/redisconn"

	"framekeeper/pkg/datatransfer"
)

// maxAnswers bounds the answers that wait for a link.
const maxAnswers = 10000

// Publisher publishes a camera's answers and continuous frames. What a lost
// session did not confirm is published again by the next one: receivers may see
// a message twice and tell by its ID. Answers never wait behind frames.
//
// Any goroutine may queue; the session's workers publish.
type Publisher struct {
	topic  string
	outbox *Log
	limit  int64
	log    zerolog.Logger
	heard  func(*Item) // nil: nobody observes

	answers lane
	frames  lane
}

// lane is one queue with its own worker and connection.
type lane struct {
	wake chan struct{} // capacity 1

	mu      sync.Mutex // guards all below
	queue   ring[*Item]
	bytes   int64 // of the queue
	sending int   // taken from the queue, not yet confirmed
	flying  int64 // bytes of those
	refused bool  // Redis forbids publishing; told once
	stats   LaneStats
	drained chan struct{} // closed and replaced when everything was published
}

func newLane() lane {
	return lane{wake: make(chan struct{}, 1), drained: make(chan struct{})}
}

// LaneStats counts messages.
type LaneStats struct {
	Published   uint64 `json:"published"`
	NoReceivers uint64 `json:"unheard"` // published while nobody was subscribed
	Dropped     uint64 `json:"dropped"` // given up: too many waited for the link
	Refused     uint64 `json:"refused"` // forbidden by Redis
	Waiting     int    `json:"waiting"`
}

// NewPublisher makes a publisher whose lanes hold at most limit bytes each.
func NewPublisher(topic string, o *Log, limit int64, log zerolog.Logger) *Publisher {
	return &Publisher{
		topic: topic, outbox: o, limit: limit, log: log,
		answers: newLane(), frames: newLane(),
	}
}

// Observe has f told of each answer when Redis has taken it for the first time;
// repeats are not told. f must not block, nor keep the item. It is set before
// the workers run.
func (p *Publisher) Observe(f func(*Item)) { p.heard = f }

// Answer queues the answer to a request. One that is queued already, because its
// request was repeated, stays where it is: on a slow link copies would crowd
// out everything else. One that is on its way is queued again: it may have been
// published before whoever repeats the request was there to hear it.
func (p *Publisher) Answer(item *Item) { p.put(&p.answers, item) }

// Frame queues a continuous frame.
func (p *Publisher) Frame(item *Item) { p.put(&p.frames, item) }

// Room is how many bytes of answers may be added before any is given up, also if
// those on their way come back because the link is lost. A lane that is empty
// takes one, however large.
func (p *Publisher) Room() (bytes int64, empty bool) {
	l := &p.answers
	l.mu.Lock()
	defer l.mu.Unlock()
	return p.limit - l.bytes - l.flying, l.queue.len() == 0 && l.sending == 0
}

// Stats are the counts of the answers and of the continuous frames.
func (p *Publisher) Stats() (answers, frames LaneStats) {
	return p.answers.snapshot(), p.frames.snapshot()
}

// Workers publish what is queued while a session lasts.
func (p *Publisher) Workers() []datatransfer.Worker {
	return []datatransfer.Worker{
		{Name: "publish answers", Run: func(ctx context.Context, s *datatransfer.Session) error { return p.run(ctx, s, &p.answers) }},
		{Name: "publish frames", Run: func(ctx context.Context, s *datatransfer.Session) error { return p.run(ctx, s, &p.frames) }},
	}
}

func (p *Publisher) put(l *lane, item *Item) {
	dropped := l.put(item, p.limit)
	for _, d := range dropped {
		p.outbox.Published(d)
	}
	if len(dropped) > 0 && l.snapshot().Dropped == uint64(len(dropped)) {
		p.log.Warn().Msg("messages are given up unpublished: too many wait for the link (counted in the status)")
	}
}

func (l *lane) put(item *Item, limit int64) (dropped []*Item) {
	if !item.queued.CompareAndSwap(false, true) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	item.pins.Add(1)
	l.queue.push(item)
	l.bytes += item.cost
	for l.queue.len() > 1 && (l.bytes > limit || l.queue.len() > maxAnswers) {
		old := l.queue.pop()
		l.bytes -= old.cost
		old.pins.Add(-1)
		old.queued.Store(false)
		dropped = append(dropped, old)
		l.stats.Dropped++
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return dropped
}

func (l *lane) snapshot() LaneStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Waiting = l.queue.len()
	return s
}

// take moves up to n items or size bytes out of the queue.
func (l *lane) take(n int, size int64) (items []*Item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.queue.len() > 0 && len(items) < n && (len(items) == 0 || l.queue.at(0).cost <= size) {
		item := l.queue.pop()
		item.queued.Store(false)
		size -= item.cost
		l.bytes -= item.cost
		l.flying += item.cost
		items = append(items, item)
	}
	l.sending = len(items)
	return items
}

// untake puts items back at the head, in their order, but for those that were
// queued again meanwhile.
func (l *lane) untake(items []*Item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(items) - 1; i >= 0; i-- {
		if !items[i].queued.CompareAndSwap(false, true) {
			items[i].pins.Add(-1)
			continue
		}
		l.queue.unpop(items[i])
		l.bytes += items[i].cost
	}
	l.sending, l.flying = 0, 0
}

// confirmed notes an item's end and how many heard it.
func (l *lane) confirmed(item *Item, receivers int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flying -= item.cost
	switch {
	case err != nil:
		l.stats.Refused++
	case receivers == 0:
		l.stats.Published++
		l.stats.NoReceivers++
	default:
		l.stats.Published++
	}
	l.refused = false
	if l.sending--; l.sending == 0 && l.queue.len() == 0 {
		close(l.drained)
		l.drained = make(chan struct{})
	}
}

// tell reports whether a refusal is news.
func (l *lane) tell() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	news := !l.refused
	l.refused = true
	return news
}

// flush waits until everything queued was published.
func (l *lane) flush(ctx context.Context) error {
	for {
		l.mu.Lock()
		done, drained := l.sending == 0 && l.queue.len() == 0, l.drained
		l.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-drained:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Flush waits until everything queued was published, or ctx ends.
func (p *Publisher) Flush(ctx context.Context) error {
	if err := p.answers.flush(ctx); err != nil {
		return err
	}
	return p.frames.flush(ctx)
}

func (p *Publisher) run(ctx context.Context, s *datatransfer.Session, l *lane) error {
	conn := s.Data().Conn()
	defer func() { _ = conn.Close() }()
	for {
		items := l.take(batchItems, batchBytes)
		if len(items) == 0 {
			select {
			case <-l.wake:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		err := p.publish(ctx, conn, l, items)
		var not *notPermitted
		switch {
		case err == nil:
		case errors.As(err, &not):
			if l.tell() {
				p.log.Error().Str("channel", p.topic).Err(err).Str("advice", redisconn.CauseOf(err).Advice()).
					Msg("publishing is refused, trying again every second")
			}
			select {
			case <-time.After(refusedWait):
			case <-ctx.Done():
				return nil
			}
		default:
			return err
		}
	}
}

// notPermitted is a refusal that an operator can lift.
type notPermitted struct{ error }

func (e *notPermitted) Unwrap() error { return e.error }

// publish sends the items in one pipeline. What was not confirmed goes back.
func (p *Publisher) publish(ctx context.Context, conn *redis.Conn, l *lane, items []*Item) error {
	replies := make([]*redis.IntCmd, len(items))
	_, _ = conn.Pipelined(ctx, func(pipe redis.Pipeliner) error { // each reply has its own error
		for i, item := range items {
			replies[i] = pipe.Publish(ctx, p.topic, item.wire())
		}
		return nil
	})
	for i, r := range replies {
		err := r.Err()
		switch {
		case err == nil, redisconn.CauseOf(err) == redisconn.CauseServer:
			if err == nil && l == &p.answers && p.heard != nil && !items[i].published.Load() {
				p.heard(items[i])
			}
			l.confirmed(items[i], r.Val(), err)
			items[i].pins.Add(-1)
			p.outbox.Published(items[i])
		case redisconn.EndsSession(err):
			l.untake(items[i:])
			return fmt.Errorf("publish: %w", err)
		default: // NOPERM, OOM: the link is fine, the operator is asked
			l.untake(items[i:])
			for _, item := range items[i:] {
				p.outbox.Published(item) // the stream need not wait for that
			}
			return &notPermitted{fmt.Errorf("publish: %w", err)}
		}
	}
	return nil
}
