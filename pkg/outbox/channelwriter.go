package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"

	"framekeeper/pkg/datatransfer"
)

// ChannelWriter drains the outbox in delivery pubsub: continuous frames are
// published in ID order, those of a lost session after it, and a frame counts
// as delivered once Redis has taken it for at least one subscriber. With nobody
// listening frames wait in memory as far as it reaches and are never written to
// disk: months without a listener must not wear out an SD card.
type ChannelWriter struct {
	topic  string
	camera string
	clock  *frame.Clock
	outbox *Log
	log    zerolog.Logger

	// Only the worker uses these.
	known   bool // whether somebody listens
	unheard bool // the last frame reached nobody
	refused bool
}

// unheardWait is how often a frame nobody hears is offered again.
const unheardWait = time.Second

// NewChannelWriter prepares the broadcaster of one channel.
func NewChannelWriter(topic, camera string, clock *frame.Clock, o *Log, log zerolog.Logger) *ChannelWriter {
	return &ChannelWriter{topic: topic, camera: camera, clock: clock, outbox: o, log: log}
}

// Worker publishes what the outbox holds while a session lasts.
func (b *ChannelWriter) Worker() datatransfer.Worker {
	return datatransfer.Worker{Name: "publish frames", Run: b.run}
}

func (b *ChannelWriter) run(ctx context.Context, s *datatransfer.Session) error {
	conn := s.Data().Conn()
	defer func() { _ = conn.Close() }()
	defer b.outbox.block(true)
	if !b.known {
		b.outbox.keepInMemory(true)
	}
	b.outbox.block(false)
	for {
		items := b.outbox.batch(batchItems, batchBytes)
		if len(items) == 0 {
			select {
			case <-b.outbox.wake:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		var wait time.Duration
		err := b.outbox.sending(s, func() (err error) {
			wait, err = b.publish(ctx, conn, items)
			return err
		})
		if err != nil {
			return err
		}
		if wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// publish sends a batch in one pipeline, and says how long to wait before what
// was not heard or not permitted is tried again.
func (b *ChannelWriter) publish(ctx context.Context, conn *redis.Conn, items []*Item) (time.Duration, error) {
	replies := make([]*redis.IntCmd, len(items))
	_, _ = conn.Pipelined(ctx, func(pipe redis.Pipeliner) error { // each reply has its own error
		for i, item := range items {
			replies[i] = pipe.Publish(ctx, b.topic, b.payload(item))
		}
		return nil
	})
	for i, r := range replies {
		switch err := r.Err(); {
		case err == nil && r.Val() > 0:
			b.outbox.delivered(items[i].id)
			b.heard(true)
			b.refused = false
		case err == nil:
			b.heard(false)
			b.outbox.untaken()
			return unheardWait, nil
		case redisconn.EndsSession(err):
			return 0, fmt.Errorf("publish: %w", err)
		default:
			if !b.refused {
				b.log.Error().Str("channel", b.topic).Err(err).Str("advice", redisconn.CauseOf(err).Advice()).
					Msg("publishing is refused, trying again every second")
			}
			b.refused = true
			return refusedWait, nil
		}
	}
	return 0, nil
}

// heard notes whether somebody listens.
func (b *ChannelWriter) heard(is bool) {
	if b.known && b.unheard != is {
		return
	}
	b.known, b.unheard = true, !is
	b.outbox.keepInMemory(b.unheard)
	if b.unheard {
		b.log.Info().Str("channel", b.topic).Msg("nobody listens, the newest frames wait in memory")
	}
}

func (b *ChannelWriter) payload(item *Item) []byte {
	m, loss := b.outbox.message(item)
	if m == nil {
		var err error
		if m, err = declaration(b.camera, b.clock, loss); err != nil {
			return nil
		}
	}
	if item.payload != nil && loss == nil {
		return item.payload
	}
	return m.Wire()
}
