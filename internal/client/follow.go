package client

import (
	"context"
	"sync/atomic"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
	"framekeeper/pkg/stream"
)

// follower reads a feed's stream: on from the saved watermark, or, the first
// time, on from the stream's end.
type follower struct {
	feed     *feed
	begun    chan struct{} // closed once it is settled where to begin
	consumer atomic.Pointer[stream.Consumer]

	// What the disk knows; only the runner's housekeeping, then its end.
	saved   frame.ID
	failing bool

	end *streamEnd // what the stream held at the end, nil if that is not known; only the runner's end
}

func newFollower(f *feed) *follower {
	w := &follower{feed: f, begun: make(chan struct{})}
	if f.store == nil {
		return w
	}
	id, ok, err := f.store.Watermark(f.cam.Name)
	switch {
	case err != nil:
		f.log.Warn().Err(err).Msg("The watermark is lost; reading the whole stream, what is stored already is not stored again")
		w.begin(frame.ID{})
	case ok:
		f.log.Info().Stringer("watermark", id).Msg("Continuing where the last run ended")
		w.saved = id
		w.begin(id)
	}
	return w
}

// begin settles where to begin: after an ID, or at the oldest entry.
func (w *follower) begin(from frame.ID) {
	w.consumer.Store(stream.NewConsumer(stream.ConsumerConfig{
		Key: w.feed.cam.FramesKey, From: from, FromStart: from.IsZero(), Handle: w.feed.consume, Log: w.feed.log,
	}))
	close(w.begun)
}

// run is the worker. It settles the beginning itself, rather than let the
// Consumer do it, because requests have to wait for that: the frame of one made
// too early would be taken for an old one.
func (w *follower) run(ctx context.Context, s *datatransfer.Session) error {
	if w.consumer.Load() == nil {
		last, err := redisconn.LastID(ctx, s.Data(), w.feed.cam.FramesKey, "+")
		if err != nil {
			return err
		}
		w.begin(last)
	}
	return w.consumer.Load().Worker().Run(ctx, s)
}

func (w *follower) stats() stream.ConsumerStats {
	if c := w.consumer.Load(); c != nil {
		return c.Stats()
	}
	return stream.ConsumerStats{}
}

// saveWatermark notes on disk how far the stream has been stored.
func (w *follower) saveWatermark() {
	f := w.feed
	id := w.stats().Watermark
	if f.store == nil || id.IsZero() || id == w.saved {
		return
	}
	err := f.store.SaveWatermark(f.cam.Name, id)
	switch {
	case err == nil:
		w.saved = id
		if w.failing {
			f.log.Info().Msg("The watermark is saved again")
		}
	case !w.failing:
		f.log.Warn().Err(err).Msg("The watermark cannot be saved; after a restart frames arrive again, but are not stored twice")
	}
	w.failing = err != nil
}

// behind says whether a frame that was answered has not come through the
// stream yet.
func (w *follower) behind() bool {
	id := w.feed.answered.Load()
	return id != nil && w.stats().Watermark.Less(*id)
}
