package outbox

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/spool"
)

const (
	spoolGroup  = 32                     // frames written before a sync
	spoolPause  = 50 * time.Millisecond  // between two groups: with the writing itself, a frame is on disk within 100 ms
	spoolExpire = time.Second            // how often age and free disk are checked
	spoolRetry  = 500 * time.Millisecond // after the disk failed
)

// Store is the disk as the log uses it; *spool.Spool is one.
type Store interface {
	IDs(after frame.ID, n int) []frame.ID
	Put(m *frame.Message) ([]spool.Loss, error)
	Sync() ([]spool.Loss, error)
	Remove(upTo frame.ID) error
	Expire() ([]spool.Loss, error)
	Get(id frame.ID) (*frame.Message, error)
	Header(id frame.ID) (frame.Header, error)
	Stats() spool.Stats
}

// Spooler writes to disk what Redis does not accept, and removes it when Redis has
// it. Frames that the disk does not accept either stay in memory, within its limit.
type Spooler struct {
	frames  *Log
	log     zerolog.Logger
	store   Store
	failure string    // of the disk, "" if it works; only step
	expired time.Time // when that was last looked at; only step

	mu    sync.Mutex // guards began
	began time.Time  // when the call that the disk has not answered yet began; zero: none
}

// NewSpooler joins a log to a spool and takes over what an earlier start left there.
// losses is what the spool dropped when it was opened.
func NewSpooler(frames *Log, s Store, losses []spool.Loss, log zerolog.Logger) *Spooler {
	frames.attach(s, losses)
	frames.saveEpoch() // what was lost too: the next start does not find that either
	return &Spooler{frames: frames, store: s, log: log}
}

// Run writes until ctx ends, then once more what is still unsent.
func (s *Spooler) Run(ctx context.Context) error {
	tick := time.NewTicker(spoolExpire)
	defer tick.Stop()
	for {
		select {
		case <-s.frames.spoolable:
		case <-tick.C:
		case <-ctx.Done():
			s.end()
			return nil
		}
		if wait := s.step(time.Now()); wait > 0 {
			pause(ctx, wait)
		}
	}
}

// step removes what Redis has, drops what is too old, and writes what is to be on
// disk. It returns how long to wait at least before the next one.
func (s *Spooler) step(now time.Time) (wait time.Duration) {
	s.remove()
	if since := now.Sub(s.expired); since >= spoolExpire || since < 0 {
		s.expired = now
		s.expire()
	}
	if s.failure != "" {
		s.frames.retryDisk()
	}
	switch {
	case !s.write(false):
		return spoolRetry
	case s.frames.cfg.DiskFirst && s.failure == "":
		return 0
	default:
		return spoolPause
	}
}

// end writes everything that is unsent.
func (s *Spooler) end() {
	s.frames.SpoolAll()
	s.write(true)
}

// expire has the spool drop what is too old or too much.
func (s *Spooler) expire() {
	var losses []spool.Loss
	err := s.call(func() (err error) {
		losses, err = s.store.Expire()
		return err
	})
	s.frames.spoolDrops(losses)
	s.logFailure(err)
}

// remove removes what Redis has.
func (s *Spooler) remove() {
	if upTo := s.frames.takeRemovable(); !upTo.IsZero() {
		s.logFailure(s.call(func() error { return s.store.Remove(upTo) }))
	}
}

// write puts what is unsent and not on disk there; false when the disk fails.
func (s *Spooler) write(all bool) bool {
	for {
		s.remove() // first: what Redis has lost since is written anew
		items := s.frames.toSpool(spoolGroup, all)
		if len(items) == 0 {
			return true
		}
		n, err := s.writeGroup(items)
		if s.frames.spooled(items[:n]); err != nil {
			s.logFailure(err)
			s.frames.spoolFailed()
			return false
		}
		if s.failure != "" {
			s.failure = ""
			s.log.Info().Msg("The spool accepts frames again")
		}
	}
}

// writeGroup puts a group on disk and makes it durable, the first n of it if the disk
// fails. What the spool drops is
// reported at once, but for frames of the group, which memory still has.
func (s *Spooler) writeGroup(items []spooling) (n int, failure error) {
	for i := range items {
		var losses []spool.Loss
		err := s.call(func() (err error) {
			m, err := withID(items[i].msg, items[i].id)
			if err == nil {
				losses, err = s.store.Put(m)
			}
			return err
		})
		s.frames.spoolDrops(losses)
		if errors.Is(err, spool.ErrTooLarge) { // those behind it need not wait
			items[i].refused, err = spool.ReasonFull, nil
		}
		if failure = err; err != nil {
			break
		}
		n++
		for k := range items[:i+1] {
			if reason := covers(losses, items[k].id); reason != "" {
				items[k].refused = reason
			}
		}
	}
	if n == 0 {
		return 0, failure
	}
	err := s.call(func() error {
		_, err := s.store.Sync() // what it could not make durable is still in memory
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, failure
}

// covers is why id is among the losses, "" if it is not.
func covers(losses []spool.Loss, id frame.ID) string {
	for _, l := range losses {
		if !id.Less(l.First) && !l.Last.Less(id) {
			return l.Reason
		}
	}
	return ""
}

// call does one call to the disk, whose duration Hanging shows.
func (s *Spooler) call(f func() error) error {
	s.setBegan(time.Now())
	defer s.setBegan(time.Time{})
	return f()
}

func (s *Spooler) setBegan(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began = t
}

// Hanging is for how long the disk has not answered a call.
func (s *Spooler) Hanging() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began.IsZero() {
		return 0
	}
	return time.Since(s.began)
}

// logFailure logs a failure of the disk, each kind once until the disk accepts frames
// again.
func (s *Spooler) logFailure(err error) {
	if err == nil {
		return
	}
	kind := "other"
	for _, known := range []error{spool.ErrDiskFull, spool.ErrReadOnly} {
		if errors.Is(err, known) {
			kind = known.Error()
		}
	}
	if s.failure == kind {
		return
	}
	s.failure = kind
	s.log.Error().Err(err).Msg("Frames cannot be written to disk; they stay in memory, within retain_bytes")
}

// Stats is the state of the spool and its counters.
func (s *Spooler) Stats() spool.Stats { return s.store.Stats() }

// Earlier lists the frames of earlier starts that are still on disk, newest first.
func (s *Spooler) Earlier() []Earlier { return s.frames.earlier() }

// Header reads the header of a frame of an earlier start, without its image. Its ID
// is the one it was written under.
func (s *Spooler) Header(e Earlier) (frame.Header, error) { return s.store.Header(e.file) }

// Message reads a frame of an earlier start, under the ID that it has now.
func (s *Spooler) Message(e Earlier) (*frame.Message, error) {
	m, err := s.store.Get(e.file)
	if err == nil {
		m, err = withID(m, e.id)
	}
	return m, err
}
