package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

// ChannelWriter publishes the logged frames in delivery pubsub: continuous frames in
// ID order, those of a lost session after it. A frame counts as delivered once Redis
// has passed it to at least one subscriber. Without one, frames stay in memory while
// there is room and are never written to disk: months without a subscriber must not
// wear out an SD card.
type ChannelWriter struct {
	topic  string
	camera string
	clock  *frame.Clock
	frames *Log
	log    zerolog.Logger

	// Only the worker uses these.
	receivers receivers
	refused   bool
}

// receivers says whether the channel has subscribers.
type receivers int

const (
	receiversUnknown receivers = iota
	receiversNone
	receiversSome
)

// noReceiversWait is how often a frame without a receiver is published again.
const noReceiversWait = time.Second

// NewChannelWriter prepares the writer of one channel.
func NewChannelWriter(topic, camera string, clock *frame.Clock, frames *Log, log zerolog.Logger) *ChannelWriter {
	return &ChannelWriter{topic: topic, camera: camera, clock: clock, frames: frames, log: log}
}

// Worker publishes what is unsent while a session lasts.
func (w *ChannelWriter) Worker() datatransfer.Worker {
	return datatransfer.Worker{Name: "publish frames", Run: w.run}
}

func (w *ChannelWriter) run(ctx context.Context, s *datatransfer.Session) error {
	conn := s.Data().Conn()
	defer func() { _ = conn.Close() }()
	defer w.frames.setWritable(false)
	if w.receivers == receiversUnknown {
		w.frames.setMemoryOnly(true)
	}
	w.frames.setWritable(true)
	for {
		items := w.frames.nextBatch(ctx)
		if items == nil {
			return nil
		}
		var wait time.Duration
		err := w.frames.watched(s, func() (err error) {
			wait, err = w.publish(ctx, conn, items)
			return err
		})
		if err != nil {
			return err
		}
		if wait > 0 && !pause(ctx, wait) {
			return nil
		}
	}
}

// publish sends a batch in one pipeline. It returns how long to wait before what had
// no receiver or was refused is published again.
func (w *ChannelWriter) publish(ctx context.Context, conn *redis.Conn, items []*Item) (time.Duration, error) {
	for i, r := range publish(ctx, conn, w.topic, items, w.payload) {
		switch err := r.Err(); {
		case err == nil && r.Val() > 0:
			w.frames.delivered(items[i].id)
			w.setReceivers(receiversSome)
			w.refused = false
		case err == nil:
			w.setReceivers(receiversNone)
			w.frames.rejected()
			return noReceiversWait, nil
		case redisconn.EndsSession(err):
			return 0, fmt.Errorf("publish: %w", err)
		default:
			if !w.refused {
				logRefused(w.log, w.topic, err)
			}
			w.refused = true
			return refusedWait, nil
		}
	}
	return 0, nil
}

// publish publishes items in one pipeline; each reply has its own error.
func publish(ctx context.Context, conn *redis.Conn, topic string, items []*Item, payload func(*Item) []byte) []*redis.IntCmd {
	replies := make([]*redis.IntCmd, len(items))
	_, _ = conn.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, item := range items {
			replies[i] = pipe.Publish(ctx, topic, payload(item))
		}
		return nil
	})
	return replies
}

func logRefused(log zerolog.Logger, topic string, err error) {
	log.Error().Str("channel", topic).Err(err).Str("advice", redisconn.CauseOf(err).Advice()).
		Msg("Redis refuses PUBLISH; it is tried again every second")
}

func (w *ChannelWriter) setReceivers(now receivers) {
	if w.receivers == now {
		return
	}
	w.receivers = now
	w.frames.setMemoryOnly(now == receiversNone)
	if now == receiversNone {
		w.log.Info().Str("channel", w.topic).Msg("The channel has no subscriber; the newest frames wait in memory")
	}
}

func (w *ChannelWriter) payload(item *Item) []byte {
	m, lost := w.frames.message(item)
	if m == nil {
		var err error
		if m, err = lost.message(w.camera, w.clock); err != nil {
			return nil
		}
	}
	if item.payload != nil && lost == nil {
		return item.payload
	}
	return m.Wire()
}
