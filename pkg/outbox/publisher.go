package outbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

// Publisher publishes a camera's answers and continuous frames. What a lost session
// did not confirm is published again by the next one: receivers may get a message
// twice, with the same ID. Answers never wait behind frames.
//
// Any goroutine may queue; the session's workers publish.
type Publisher struct {
	topic   string
	entries *Log
	limit   int64
	log     zerolog.Logger
	observe func(*Item) // nil: nobody does

	answers lane
	frames  lane
}

// NewPublisher makes a publisher whose lanes take at most limit bytes each.
func NewPublisher(topic string, entries *Log, limit int64, log zerolog.Logger) *Publisher {
	return &Publisher{
		topic: topic, entries: entries, limit: limit, log: log,
		answers: newLane(), frames: newLane(),
	}
}

// Observe sets what is called with each answer when Redis has accepted it for the
// first time. f must not block, nor keep the item. It is set before the workers run.
func (p *Publisher) Observe(f func(*Item)) { p.observe = f }

// Answer queues the answer to a request. One that waits already, because its request
// was repeated, stays where it is: on a slow link copies would crowd out everything
// else. One that is on its way is queued again: it may have been published before
// whoever repeats the request had subscribed.
func (p *Publisher) Answer(item *Item) { p.put(&p.answers, item) }

// Frame queues a continuous frame.
func (p *Publisher) Frame(item *Item) { p.put(&p.frames, item) }

// Room is how many bytes of answers may be added before any is dropped, also if those
// on their way come back because the link is lost. A lane that is empty takes one,
// however large.
func (p *Publisher) Room() (bytes int64, empty bool) {
	l := &p.answers
	l.mu.Lock()
	defer l.mu.Unlock()
	return p.limit - l.bytes - l.sendingBytes, l.idle()
}

// Stats are the counts of the answers and of the continuous frames.
func (p *Publisher) Stats() (answers, frames LaneStats) {
	return p.answers.snapshot(), p.frames.snapshot()
}

// Flush waits until everything queued was published, or ctx ends.
func (p *Publisher) Flush(ctx context.Context) error {
	if err := p.answers.flush(ctx); err != nil {
		return err
	}
	return p.frames.flush(ctx)
}

// Workers publish what is queued while a session lasts.
func (p *Publisher) Workers() []datatransfer.Worker {
	worker := func(name string, l *lane) datatransfer.Worker {
		return datatransfer.Worker{Name: name, Run: func(ctx context.Context, s *datatransfer.Session) error { return p.run(ctx, s, l) }}
	}
	return []datatransfer.Worker{worker("publish answers", &p.answers), worker("publish frames", &p.frames)}
}

func (p *Publisher) put(l *lane, item *Item) {
	dropped := l.put(item, p.limit)
	for _, d := range dropped {
		p.entries.Published(d)
	}
	if len(dropped) > 0 && l.snapshot().Dropped == uint64(len(dropped)) {
		p.log.Warn().Msg("Messages are dropped: too many wait for the link; the status counts them")
	}
}

// errRefused is a refusal that an operator can lift.
var errRefused = errors.New("publish")

func (p *Publisher) run(ctx context.Context, s *datatransfer.Session, l *lane) error {
	conn := s.Data().Conn()
	defer func() { _ = conn.Close() }()
	for {
		items := l.take(batchItems, batchBytes)
		if len(items) == 0 {
			if !await(ctx, l.wake) {
				return nil
			}
			continue
		}
		switch err := p.publish(ctx, conn, l, items); {
		case errors.Is(err, errRefused):
			if l.setRefused() {
				logRefused(p.log, p.topic, err)
			}
			if !pause(ctx, refusedWait) {
				return nil
			}
		case err != nil:
			return err
		}
	}
}

// publish sends the items in one pipeline. What was not confirmed goes back.
func (p *Publisher) publish(ctx context.Context, conn *redis.Conn, l *lane, items []*Item) error {
	for i, r := range publish(ctx, conn, p.topic, items, (*Item).wire) {
		item, err := items[i], r.Err()
		switch {
		case err == nil, redisconn.CauseOf(err) == redisconn.CauseServer:
			if err == nil && l == &p.answers && p.observe != nil && !item.published.Load() {
				p.observe(item)
			}
			l.confirmed(item, r.Val(), err)
			item.Unpin()
			p.entries.Published(item)
		case redisconn.EndsSession(err):
			l.putBack(items[i:])
			return fmt.Errorf("publish: %w", err)
		default: // NOPERM, OOM: the link works
			l.putBack(items[i:])
			for _, item := range items[i:] {
				p.entries.Published(item) // the stream need not wait for that
			}
			return fmt.Errorf("%w: %w", errRefused, err)
		}
	}
	return nil
}
