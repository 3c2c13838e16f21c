package receiver

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/internal/images"
	"framekeeper/pkg/camera"

	"context"
	"sync/atomic"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
	"framekeeper/pkg/stream"
)

// streamReader reads a camera's stream alone: on from the saved watermark, or, the
// first time, on from the stream's end.
type streamReader struct {
	camera   string
	key      string
	store    *images.Store // nil: there is no watermark on disk
	handle   func(context.Context, *frame.Message) error
	log      zerolog.Logger
	begun    chan struct{} // closed once it is settled where to begin
	consumer atomic.Pointer[stream.Consumer]

	// Only the Receiver's housekeeping, then its end, use these.
	saved   frame.ID // the watermark on disk
	failing bool     // it cannot be saved
	end     *streamEnd
}

func newStreamReader(cam *camera.Config, store *images.Store, handle func(context.Context, *frame.Message) error, log zerolog.Logger) *streamReader {
	w := &streamReader{camera: cam.Name, key: cam.FramesKey, store: store, handle: handle, log: log, begun: make(chan struct{})}
	if store == nil {
		return w
	}
	id, ok, err := store.Watermark(cam.Name)
	switch {
	case err != nil:
		log.Warn().Err(err).Msg("The watermark cannot be read; the whole stream is read again, but no image is stored twice")
		w.begin(frame.ID{})
	case ok:
		log.Info().Stringer("watermark", id).Msg("Continuing where the last run ended")
		w.saved = id
		w.begin(id)
	}
	return w
}

// begin settles where to begin: after an ID, or at the oldest entry.
func (w *streamReader) begin(from frame.ID) {
	w.consumer.Store(stream.NewConsumer(stream.ConsumerConfig{
		Key: w.key, From: from, FromStart: from.IsZero(), Handle: w.handle, Log: w.log,
	}))
	close(w.begun)
}

// run is the worker. It settles the beginning itself, rather than let the
// Consumer do it, because requests have to wait for that: the frame of one made
// too early would be taken for an old one.
func (w *streamReader) run(ctx context.Context, s *datatransfer.Session) error {
	if w.consumer.Load() == nil {
		last, err := redisconn.LastID(ctx, s.Data(), w.key, "+")
		if err != nil {
			return err
		}
		w.begin(last)
	}
	return w.consumer.Load().Worker().Run(ctx, s)
}

func (w *streamReader) stats() stream.ConsumerStats {
	if c := w.consumer.Load(); c != nil {
		return c.Stats()
	}
	return stream.ConsumerStats{}
}

// saveWatermark saves on disk how far the stream has been stored.
func (w *streamReader) saveWatermark() {
	id := w.stats().Watermark
	if w.store == nil || id.IsZero() || id == w.saved {
		return
	}
	err := w.store.SaveWatermark(w.camera, id)
	switch {
	case err == nil:
		w.saved = id
		if w.failing {
			w.log.Info().Msg("The watermark is saved again")
		}
	case !w.failing:
		w.log.Warn().Err(err).Msg("The watermark cannot be saved; after a restart frames arrive again, but no image is stored twice")
	}
	w.failing = err != nil
}

// maxEpochs bounds the last read of a stream: Redis sends an image for each.
const maxEpochs = 8

// streamEnd is what a stream held when it was last read; nil: unknown. Redis counts no
// entries from an ID on, and sends the images along with the IDs; but IDs are
// numbered, from 0 in each epoch, so the last of each epoch suffices.
type streamEnd struct {
	length uint64
	last   []frame.ID // of each epoch, newest first, down to the watermark's
}

// readStreamEnd reads no further down than the watermark's epoch.
func readStreamEnd(ctx context.Context, c *redis.Client, key string, mark frame.ID) (*streamEnd, error) {
	length, err := c.XLen(ctx, key).Uint64()
	if err != nil {
		return nil, fmt.Errorf("read length of %s: %w", key, err)
	}
	end := &streamEnd{length: length}
	for from := "+"; len(end.last) < maxEpochs; {
		id, err := redisconn.LastID(ctx, c, key, from)
		if err != nil {
			return nil, err
		}
		if id.IsZero() {
			break
		}
		end.last = append(end.last, id)
		if id.Epoch <= mark.Epoch {
			break
		}
		from = "(" + strconv.FormatUint(id.Epoch, 10) + "-0"
	}
	return end, nil
}

// above is how many entries there are above the watermark: never more than the
// stream holds, and holes count like entries.
func (e *streamEnd) above(mark frame.ID) uint64 {
	if e == nil {
		return 0
	}
	var n uint64
	for _, id := range e.last {
		switch {
		case !mark.Less(id):
		case id.Epoch == mark.Epoch:
			n += id.Seq - mark.Seq
		default:
			n += id.Seq + 1
		}
	}
	return min(n, e.length)
}

// readEnd reads what the stream holds for the next run.
func (w *streamReader) readEnd(ctx context.Context, c *redis.Client) {
	end, err := readStreamEnd(ctx, c, w.key, w.stats().Watermark)
	if err == nil {
		w.end = end
	} else if !errors.Is(err, context.DeadlineExceeded) {
		w.log.Debug().Err(err).Msg("The stream's end could not be read")
	}
}
