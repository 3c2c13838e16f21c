package receiver

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/async"
	"framekeeper/internal/images"
	"framekeeper/pkg/frame"
)

const (
	// How soon and how rarely a disk that refuses is tried again.
	retryMin = 100 * time.Millisecond
	retryMax = 5 * time.Second

	// queueMaxBytes bounds the queue in memory, whatever queue_size allows.
	queueMaxBytes = 256 << 20
)

// storer stores one camera's frames and counts what became of them.
type storer struct {
	camera   string
	store    *images.Store // nil: nothing is stored
	counts   *counts
	log      zerolog.Logger
	unstored refusal // the disk does not take images at present
	unsynced refusal // it does not make them durable
}

// refusal is what the disk refuses at present, over many frames and sessions. It is
// logged once, and its end too.
type refusal struct{ now atomic.Pointer[trouble] }

type trouble struct {
	err   error
	since time.Time
}

func (r *refusal) begin(err error, log *zerolog.Logger, msg string) {
	if r.now.CompareAndSwap(nil, &trouble{err, time.Now()}) {
		log.Error().Err(err).Msg(msg)
	}
}

func (r *refusal) end(log *zerolog.Logger, msg string) {
	if was := r.now.Swap(nil); was != nil {
		log.Info().Int64("lasted_ms", time.Since(was.since).Milliseconds()).Msg(msg)
	}
}

// save stores one frame. While the disk refuses it tries again: the stream, or the
// consumer group, waits that long, and the queue drops what does not fit. It fails
// only when ctx ends first.
func (s *storer) save(ctx context.Context, m *frame.Message) error {
	if s.store == nil {
		return nil
	}
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		err := s.try(m)
		if err == nil {
			s.unstored.end(&s.log, "Images are stored again")
			return nil
		}
		s.unstored.begin(err, &s.log, "Images cannot be stored; it is tried again until it succeeds")
		if !async.Pause(ctx, wait) {
			return ctx.Err()
		}
	}
}

// settle makes durable what was stored.
func (s *storer) settle() error {
	err := s.store.Sync()
	if err != nil {
		s.unsynced.begin(err, &s.log, "Images cannot be made durable; it is tried again until it succeeds")
		return err
	}
	s.unsynced.end(&s.log, "Images are durable again")
	return nil
}

// setAside counts a damaged entry, and stores what there is of it for inspection if
// that is possible at once: one entry never holds up the rest.
func (s *storer) setAside(m *frame.Message) {
	s.counts.add(corrupt, 1)
	if m == nil || m.Header.Camera != s.camera || s.store == nil { // it cannot be attributed
		return
	}
	if _, _, err := s.store.Save(m); err != nil && !errors.Is(err, images.ErrCorrupt) {
		s.log.Warn().Err(err).Stringer("id", m.Header.ID).Msg("A damaged image could not be set aside")
	}
}

// try stores one frame unless it never can be; after an error, trying again may
// help.
func (s *storer) try(m *frame.Message) error {
	if m.Header.Camera != s.camera {
		s.lose(unstorable, m, fmt.Errorf("%w: camera %.80q", images.ErrRefused, m.Header.Camera))
		return nil
	}
	path, isNew, err := s.store.Save(m)
	switch {
	case err == nil && isNew:
		s.counts.add(stored, 1)
		s.counts.add(storedBytes, uint64(len(m.Image())))
	case err == nil:
		s.counts.add(duplicates, 1)
	case errors.Is(err, images.ErrCorrupt):
		s.counts.add(corrupt, 1)
		s.log.Warn().Err(err).Stringer("id", m.Header.ID).Str("file", path).Msg("A damaged image was set aside")
	case errors.Is(err, images.ErrTooLarge):
		s.lose(oversized, m, err)
	case errors.Is(err, images.ErrRefused):
		s.lose(unstorable, m, err)
	default:
		s.counts.add(storeFailures, 1)
		return err
	}
	return nil
}

// lose counts a frame that can never be stored. The first one of each reason is
// logged: there may be thirty a second.
func (s *storer) lose(reason counter, m *frame.Message, err error) {
	level := zerolog.DebugLevel
	if s.counts.n[reason].Add(1) == 1 {
		level = zerolog.ErrorLevel
	}
	s.log.WithLevel(level).Err(err).Stringer("id", m.Header.ID).Msg("A frame cannot be stored and is lost")
}

// queue holds published frames that wait to be stored.
type queue struct {
	items chan queued
	bytes atomic.Int64 // of items, and of those being stored
	open  atomic.Int64 // pushed and not yet stored
}

type queued struct {
	storer *storer
	m      *frame.Message
}

func newQueue(size int) *queue { return &queue{items: make(chan queued, size)} }

// push never waits; it is false when there is no room.
func (q *queue) push(s *storer, m *frame.Message) bool {
	size := int64(m.Size())
	if q.bytes.Add(size) > queueMaxBytes {
		q.bytes.Add(-size)
		return false
	}
	q.open.Add(1)
	select {
	case q.items <- queued{s, m}:
		return true
	default:
		q.open.Add(-1)
		q.bytes.Add(-size)
		return false
	}
}

// drain stores what is pushed until ctx ends.
func (q *queue) drain(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case item := <-q.items:
			if err := item.storer.save(ctx, item.m); err != nil { // ctx has ended
				item.storer.counts.add(dropped, 1)
				return
			}
			q.bytes.Add(-int64(item.m.Size()))
			q.open.Add(-1)
		}
	}
}

func (q *queue) empty() bool { return q.open.Load() == 0 }

// abandon counts what is left when nobody drains any more.
func (q *queue) abandon() {
	for {
		select {
		case item := <-q.items:
			item.storer.counts.add(dropped, 1)
		default:
			return
		}
	}
}
