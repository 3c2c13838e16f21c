package client

import (
	"context"
	"errors"
	"time"

	"framekeeper/internal/images"
	"framekeeper/pkg/frame"
)

// How soon and how rarely a disk that refuses is tried again.
const (
	retryMin = 100 * time.Millisecond
	retryMax = 5 * time.Second
)

// keep stores one frame. While the disk refuses it tries again: the stream
// waits that long, and the queue drops what does not fit. It fails only when
// ctx ends first.
func (f *feed) keep(ctx context.Context, m *frame.Message) error {
	if f.store == nil {
		return nil
	}
	var refused time.Time // since when the disk does not take it
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		path, stored, err := f.store.Save(m)
		if f.settled(m, path, stored, err) {
			f.refusal.Store(nil)
			if !refused.IsZero() {
				f.log.Info().Int64("lasted_ms", time.Since(refused).Milliseconds()).Msg("Images are stored again")
			}
			return nil
		}
		f.counts.failed.Add(1)
		f.refusal.Store(&err)
		if refused.IsZero() {
			refused = time.Now()
			f.log.Error().Err(err).Msg("Images cannot be stored; trying again until they can")
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// settled counts what became of a frame; false means that trying again may help.
func (f *feed) settled(m *frame.Message, path string, stored bool, err error) bool {
	switch {
	case err == nil && stored:
		f.counts.stored.Add(1)
		f.counts.storedBytes.Add(uint64(len(m.Image())))
	case err == nil:
		f.counts.duplicates.Add(1)
	case errors.Is(err, images.ErrCorrupt):
		f.counts.corrupt.Add(1)
		f.log.Warn().Err(err).Stringer("id", m.Header.ID).Str("file", path).Msg("A damaged image was set aside")
	case errors.Is(err, images.ErrRefused):
		f.counts.malformed.Add(1)
		f.log.Debug().Err(err).Stringer("id", m.Header.ID).Msg("A message was not stored")
	default:
		return false
	}
	return true
}
