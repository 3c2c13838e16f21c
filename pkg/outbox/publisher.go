package outbox

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

// Wire derives what is published from a message. nil stands for (*frame.Message).Wire.
type Wire func(context.Context, *frame.Message) ([]byte, error)

func (w Wire) of(ctx context.Context, m *frame.Message) ([]byte, error) {
	if w == nil {
		return m.Wire(), nil
	}
	return w(ctx, m)
}

// PublisherConfig configures a Publisher.
type PublisherConfig struct {
	Topic   string
	Limit   int64 // bytes that each lane may take
	Wire    Wire
	Ceiling *Ceiling           // nil: messages of every size are sent
	Observe func(frame.Header) // of each answer that Redis has accepted for the first time; nil: nobody does. It must not block
	Log     zerolog.Logger
}

// Publisher publishes a camera's answers and continuous frames. What a lost session
// did not confirm is published again by the next one: receivers may get a message
// twice, with the same ID. Answers never wait behind frames.
//
// Any goroutine may queue; the session's workers publish.
type Publisher struct {
	cfg     PublisherConfig
	entries *Log

	answers lane
	frames  lane
}

// NewPublisher makes a publisher of a log's frames.
func NewPublisher(cfg PublisherConfig, entries *Log) *Publisher {
	return &Publisher{cfg: cfg, entries: entries, answers: newLane(), frames: newLane()}
}

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
	return p.cfg.Limit - l.bytes - l.sendingBytes, l.idle()
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
	dropped := l.put(item, p.cfg.Limit)
	for _, d := range dropped {
		p.entries.Published(d)
	}
	if len(dropped) > 0 && l.snapshot().Dropped == uint64(len(dropped)) {
		p.cfg.Log.Warn().Msg("Messages are dropped: too many wait for the link; the status counts them")
	}
}

func (p *Publisher) run(ctx context.Context, s *datatransfer.Session, l *lane) error {
	conn := redisChannel{conn: s.Data().Conn(), topic: p.cfg.Topic}
	defer conn.close()
	p.cfg.Ceiling.sessionBegins()
	return drive(ctx, l.wake, func() (time.Duration, error) { return p.step(ctx, conn, l, sizeTest(s)) })
}

// step publishes one batch. It returns how long to wait before the next; idle: until
// there is something to publish.
func (p *Publisher) step(ctx context.Context, c channelConn, l *lane, test sizeTester) (wait time.Duration, err error) {
	n := batchItems
	if p.cfg.Wire != nil {
		n = 1 // what is derived may be much larger
	}
	items := l.take(n, p.cfg.Ceiling.together())
	if len(items) == 0 {
		return idle, nil
	}
	batch, err := p.payloads(ctx, items, test)
	if err != nil || batch == nil {
		l.putBack(items)
		return 0, err
	}
	if l == &p.frames && batch.refused != nil { // nobody has asked for it, and the stream declares it
		l.confirmed(items[0], 0, batch.refused)
		return 0, nil
	}
	for i, r := range c.publish(ctx, batch.payloads) {
		item := items[i]
		p.cfg.Ceiling.failed(ctx, batch.total, r.err)
		switch cause := redisconn.CauseOf(r.err); {
		case r.err == nil, cause == redisconn.CauseServer && !redisconn.IsAboutSize(r.err):
			if l.confirmed(item, r.receivers, cmp.Or(r.err, batch.refused)) && l == &p.answers && p.cfg.Observe != nil {
				p.cfg.Observe(item.msg.Header)
			}
			p.entries.Published(item)
		case redisconn.EndsSession(r.err):
			l.putBack(items[i:])
			return 0, fmt.Errorf("publish: %w", r.err)
		default: // NOPERM, OOM: the link works
			l.putBack(items[i:])
			for _, item := range l.queue() {
				p.entries.Published(item) // the stream need not wait for that
			}
			if l.setRefused() {
				logRefused(p.cfg.Log, p.cfg.Topic, fmt.Errorf("publish: %w", r.err))
			}
			return refusedWait, nil
		}
	}
	p.cfg.Ceiling.passed(batch.largest)
	return 0, nil
}

// publishReply is what Redis answers to one PUBLISH.
type publishReply struct {
	receivers int64
	err       error
}

// channelConn is a channel as the writers use it.
type channelConn interface {
	publish(ctx context.Context, payloads [][]byte) []publishReply
}

// redisChannel is a channel of Redis, over one connection.
type redisChannel struct {
	conn  *redis.Conn
	topic string
}

func (c redisChannel) close() { _ = c.conn.Close() }

// publish sends all payloads in one pipeline.
func (c redisChannel) publish(ctx context.Context, payloads [][]byte) []publishReply {
	cmds := make([]*redis.IntCmd, len(payloads))
	_, _ = c.conn.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, payload := range payloads {
			cmds[i] = pipe.Publish(ctx, c.topic, payload)
		}
		return nil
	})
	replies := make([]publishReply, len(cmds))
	for i, cmd := range cmds {
		replies[i] = publishReply{cmd.Val(), cmd.Err()}
	}
	return replies
}

func logRefused(log zerolog.Logger, topic string, err error) {
	log.Error().Str("channel", topic).Err(err).Str("advice", redisconn.CauseOf(err).Advice()).
		Msg("Redis refuses PUBLISH; it is tried again every second")
}
