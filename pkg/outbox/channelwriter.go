package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

// ChannelWriterConfig configures a ChannelWriter.
type ChannelWriterConfig struct {
	Topic   string
	Wire    Wire
	Ceiling *Ceiling // nil: messages of every size are sent
	Log     zerolog.Logger
}

// ChannelWriter publishes the logged frames in delivery pubsub: continuous frames in
// ID order, those of a lost session after it. A frame counts as delivered once Redis
// has passed it to at least one subscriber. Without one, frames stay in memory while
// there is room and are never written to disk: months without a subscriber must not
// wear out an SD card.
type ChannelWriter struct {
	cfg    ChannelWriterConfig
	frames *Log

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
func NewChannelWriter(cfg ChannelWriterConfig, frames *Log) *ChannelWriter {
	return &ChannelWriter{cfg: cfg, frames: frames}
}

// Worker publishes what is unsent while a session lasts.
func (w *ChannelWriter) Worker() datatransfer.Worker {
	return datatransfer.Worker{Name: "publish frames", Run: w.run}
}

func (w *ChannelWriter) run(ctx context.Context, s *datatransfer.Session) error {
	conn := redisChannel{conn: s.Data().Conn(), topic: w.cfg.Topic}
	defer conn.close()
	defer w.end()
	w.begin()
	return drive(ctx, w.frames.sendable, w.frames.watched(s.Acked, func() (time.Duration, error) { return w.step(ctx, conn, sizeTest(s)) }))
}

// begin begins a session.
func (w *ChannelWriter) begin() {
	w.cfg.Ceiling.sessionBegins()
	if w.receivers == receiversUnknown {
		w.frames.setMemoryOnly(true)
	}
	w.frames.setWritable(true)
}

// end ends a session.
func (w *ChannelWriter) end() { w.frames.setWritable(false) }

// step publishes one batch. It returns how long to wait before the next; idle: until
// there is something to send.
func (w *ChannelWriter) step(ctx context.Context, c channelConn, test sizeTester) (wait time.Duration, err error) {
	singly := w.cfg.Wire != nil // what is derived may be much larger than the message
	b, wait := beginBatch(w.frames, w.cfg.Ceiling, singly)
	if b == nil {
		return wait, nil
	}
	defer b.fail()
	batch, err := w.payloads(ctx, b, test)
	if err != nil || batch == nil {
		return 0, err
	}
	for _, r := range c.publish(ctx, batch.payloads) {
		w.cfg.Ceiling.failed(ctx, batch.total, r.err)
		switch {
		case r.err == nil && r.receivers > 0:
			b.commit(1)
			w.setReceivers(receiversSome)
			w.refused = false
		case r.err == nil:
			w.setReceivers(receiversNone)
			return noReceiversWait, nil
		case redisconn.EndsSession(r.err):
			return 0, fmt.Errorf("publish: %w", r.err)
		default:
			if !w.refused {
				logRefused(w.cfg.Log, w.cfg.Topic, r.err)
			}
			w.refused = true
			return refusedWait, nil
		}
	}
	w.cfg.Ceiling.passed(batch.largest)
	return 0, nil
}

// payloads derives what is published. nil: a frame that cannot be was given up, or
// these are too many together.
func (w *ChannelWriter) payloads(ctx context.Context, b *batch, test sizeTester) (*payloadBatch, error) {
	batch := &payloadBatch{}
	for _, e := range b.entries {
		payload, err := w.cfg.Wire.of(ctx, e.msg)
		if err != nil && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil && e.msg.Header.Status == frame.StatusOK { // its image: spooled before wire or encoding was changed
			w.cfg.Log.Error().Stringer("id", e.id).Err(err).Msg("A frame on disk is unreadable")
			b.giveUp(e.id, reasonUnreadable)
			return nil, nil //nolint:nilnil // it is no error
		}
		if err != nil {
			return nil, fmt.Errorf("publish %s: %w", e.id, err)
		}
		batch.add(payload)
	}
	fits, err := w.cfg.Ceiling.fits(ctx, batch.total, test)
	if err != nil || fits {
		return batch, err
	}
	if len(b.entries) == 1 {
		b.giveUp(b.entries[0].id, tooLarge(batch.total))
	}
	return nil, nil //nolint:nilnil // it is no error
}

func (w *ChannelWriter) setReceivers(now receivers) {
	if w.receivers == now {
		return
	}
	w.receivers = now
	w.frames.setMemoryOnly(now == receiversNone)
	if now == receiversNone {
		w.cfg.Log.Info().Str("channel", w.cfg.Topic).Msg("The channel has no subscriber; the newest frames wait in memory")
	}
}
