package outbox

import (
	"context"
	"sync/atomic"
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

// Spooler writes to disk what Redis does not accept, and removes it when Redis has
// it. Frames that the disk does not accept either stay in memory, within its limit.
type Spooler struct {
	frames  *Log
	log     zerolog.Logger
	spool   *spool.Spool
	failure string // of the disk, "" if it works; only Run

	start     time.Time
	callBegan atomic.Int64 // when the call that the disk has not answered yet began, in ns after start; 0: none
}

// NewSpooler joins a log to a spool and takes over what an earlier start left there.
// always: frames are not sent before they are on disk.
func NewSpooler(frames *Log, s *spool.Spool, losses []spool.Loss, always bool, log zerolog.Logger) *Spooler {
	sp := &Spooler{frames: frames, spool: s, log: log, start: time.Now()}
	frames.attach(sp, s, losses, always)
	return sp
}

// Run writes until ctx ends, then once more what is still unsent.
func (s *Spooler) Run(ctx context.Context) error {
	tick := time.NewTicker(spoolExpire)
	defer tick.Stop()
	for {
		select {
		case <-s.frames.spoolable:
		case <-tick.C:
			s.expire()
		case <-ctx.Done():
			s.remove()
			s.frames.offerAll()
			s.write(true)
			return nil
		}
		s.remove()
		wait := spoolPause
		if !s.write(false) {
			wait = spoolRetry
		}
		if s.frames.diskFirst && s.failure == "" {
			continue
		}
		pause(ctx, wait)
	}
}

// expire has the spool drop what is too old or too much.
func (s *Spooler) expire() {
	var losses []spool.Loss
	err := s.call(func() (err error) {
		losses, err = s.spool.Expire()
		return err
	})
	s.frames.spoolDrops(losses)
	s.logFailure(err)
}

// remove removes what Redis has.
func (s *Spooler) remove() {
	if upTo := s.frames.takeRemovable(); !upTo.IsZero() {
		s.logFailure(s.call(func() error { return s.spool.Remove(upTo) }))
	}
}

// write puts what is unsent and not on disk there; false when the disk fails.
func (s *Spooler) write(all bool) bool {
	for {
		items := s.frames.toSpool(spoolGroup, all)
		if len(items) == 0 {
			return true
		}
		if err := s.writeGroup(items); err != nil {
			s.logFailure(err)
			s.frames.spoolFailed()
			return false
		}
		s.frames.spooled(items)
		if s.failure != "" {
			s.failure = ""
			s.log.Info().Msg("The spool accepts frames again")
		}
	}
}

// writeGroup puts a group on disk and makes it durable.
func (s *Spooler) writeGroup(items []spooling) error {
	for i := range items {
		var losses []spool.Loss
		err := s.call(func() (err error) {
			losses, err = s.spool.Put(items[i].msg)
			return err
		})
		s.frames.spoolDrops(losses)
		if err != nil {
			return err
		}
		items[i].refused = covers(losses, items[i].id)
	}
	return s.call(func() error {
		_, err := s.spool.Sync() // what it could not make durable is still in memory
		return err
	})
}

// covers reports whether id is among the losses.
func covers(losses []spool.Loss, id frame.ID) bool {
	for _, l := range losses {
		if !id.Less(l.First) && !l.Last.Less(id) {
			return true
		}
	}
	return false
}

// call does one call to the disk, whose duration Hanging shows.
func (s *Spooler) call(f func() error) error {
	s.callBegan.Store(int64(time.Since(s.start)) + 1)
	defer s.callBegan.Store(0)
	return f()
}

// Hanging is for how long the disk has not answered a call.
func (s *Spooler) Hanging() time.Duration {
	began := s.callBegan.Load()
	if began == 0 {
		return 0
	}
	return time.Since(s.start) - time.Duration(began)
}

// logFailure logs a failure of the disk, each kind once.
func (s *Spooler) logFailure(err error) {
	if err == nil || s.failure == err.Error() {
		return
	}
	s.failure = err.Error()
	s.log.Error().Err(err).Msg("Frames cannot be written to disk; they stay in memory, within retain_bytes")
}

// Stats is the state of the spool and its counters.
func (s *Spooler) Stats() spool.Stats { return s.spool.Stats() }

// get reads a frame back. It does not wait for what Run is writing: on a slow disk
// the backlog would not get out.
func (s *Spooler) get(id frame.ID) (*frame.Message, error) { return s.spool.Get(id) }

// Earlier lists the frames of earlier starts that are still on disk, newest first.
func (s *Spooler) Earlier() []Earlier { return s.frames.earlier() }

// Header reads the header of a frame of an earlier start, without its image. Its ID
// is the one it was written under.
func (s *Spooler) Header(e Earlier) (frame.Header, error) { return s.spool.Header(e.file) }

// Message reads a frame of an earlier start, under the ID that it has now.
func (s *Spooler) Message(e Earlier) (*frame.Message, error) {
	m, err := s.get(e.file)
	if err == nil {
		m, err = withID(m, e.id)
	}
	return m, err
}
