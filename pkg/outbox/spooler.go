package outbox

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/spool"
)

const (
	spoolGroup  = 32                     // frames written before a sync
	spoolPause  = 50 * time.Millisecond  // between two groups: with the writing itself, a frame is on disk within 100 ms
	spoolExpire = time.Second            // how often age and free disk are looked at
	spoolRetry  = 500 * time.Millisecond // after the disk refused
)

// Spooler keeps what Redis did not take on disk, and forgets it when Redis has
// it. Frames that the disk refuses too stay in memory, within its bound.
type Spooler struct {
	outbox *Log
	log    zerolog.Logger
	spool  *spool.Spool
	failed string // what the disk last said; only Run

	since atomic.Int64 // when the call that the disk has not answered yet began, in ns after start; 0: none
	start time.Time
}

// NewSpooler joins an outbox to a spool and takes over what an earlier start
// left there. The outbox's epoch is raised above those of the frames there: the
// saved epoch may be lost and the clock be wrong, and Redis takes only IDs that
// rise. always keeps frames from being sent before they are on disk.
func NewSpooler(o *Log, s *spool.Spool, losses []spool.Loss, always bool, log zerolog.Logger) *Spooler {
	o.mu.Lock()
	defer o.mu.Unlock()
	sp := &Spooler{outbox: o, spool: s, log: log, start: time.Now()}
	o.disk, o.always = sp, always
	if newest := s.Stats().Newest; newest.Epoch >= o.epoch && newest.Epoch < math.MaxUint64 {
		log.Warn().Uint64("epoch", newest.Epoch+1).Stringer("last", newest).
			Msg("frames on disk are ahead of this agent's clock, continuing above them")
		o.epoch = newest.Epoch + 1
	}
	var before frame.ID
	for after := (frame.ID{}); ; {
		ids := s.IDs(after, 1000)
		if len(ids) == 0 {
			break
		}
		for _, id := range ids {
			if before.Epoch == id.Epoch && before.Next() != id {
				o.countLoss(reasonRestart, id.Seq-before.Seq-1)
				o.unsent.push(&Item{id: frame.ID{Epoch: id.Epoch, Seq: id.Seq - 1}, loss: &LostRange{
					First: before.Next(), Last: frame.ID{Epoch: id.Epoch, Seq: id.Seq - 1}, Reason: reasonRestart,
				}})
			}
			o.unsent.push(&Item{id: id, file: id})
			before = id
		}
		after = ids[len(ids)-1]
	}
	if n := o.unsent.len(); n > 0 {
		log.Info().Int("frames", n).Stringer("first", o.unsent.at(0).id).Stringer("last", before).Msg("frames of an earlier start are on disk, they go first")
	}
	sp.lostLocked(losses)
	return sp
}

// Run writes until ctx ends, then once more what is still unsent.
func (s *Spooler) Run(ctx context.Context) error {
	tick := time.NewTicker(spoolExpire)
	defer tick.Stop()
	for {
		select {
		case <-s.outbox.store:
		case <-tick.C:
			s.asks()
			losses, err := s.spool.Expire()
			s.answered()
			s.lost(losses)
			if err != nil {
				s.complain(err)
			}
		case <-ctx.Done():
			s.clean()
			s.outbox.ends()
			s.keep(true)
			return nil
		}
		s.clean()
		wait := spoolPause
		if !s.keep(false) {
			wait = spoolRetry
		}
		if s.outbox.always && s.failed == "" {
			continue
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// clean removes what Redis has.
func (s *Spooler) clean() {
	s.outbox.mu.Lock()
	upTo := s.outbox.remove
	s.outbox.remove = frame.ID{}
	s.outbox.mu.Unlock()
	if upTo.IsZero() {
		return
	}
	s.asks()
	err := s.spool.Remove(upTo)
	s.answered()
	if err != nil {
		s.complain(err)
	}
}

// get reads a frame back. It does not wait for what Run is writing: on a slow
// disk the backlog would not get out.
func (s *Spooler) get(id frame.ID) (*frame.Message, error) { return s.spool.Get(id) }

// Earlier is a frame of an earlier start that is still on disk.
type Earlier struct{ id, file frame.ID }

// Earlier lists the frames of earlier starts that are still on disk, newest first.
func (s *Spooler) Earlier() (all []Earlier) {
	o := s.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := o.unsent.len() - 1; i >= 0; i-- {
		if e := o.unsent.at(i); e.onDisk() && e.id.Epoch != o.epoch {
			all = append(all, Earlier{e.id, e.file})
		}
	}
	return all
}

// Header reads the header of a frame of an earlier start, without its image. Its
// ID is the one it was written under.
func (s *Spooler) Header(e Earlier) (frame.Header, error) { return s.spool.Header(e.file) }

// Message reads a frame of an earlier start, under the ID that it has now.
func (s *Spooler) Message(e Earlier) (*frame.Message, error) {
	m, err := s.get(e.file)
	if err == nil {
		m, err = withID(m, e.id)
	}
	return m, err
}

// asks and answered enclose what Run asks of the disk.
func (s *Spooler) asks()     { s.since.Store(int64(time.Since(s.start)) + 1) }
func (s *Spooler) answered() { s.since.Store(0) }

// Hanging is for how long the disk has not answered what was asked of it.
func (s *Spooler) Hanging() time.Duration {
	since := s.since.Load()
	if since == 0 {
		return 0
	}
	return time.Since(s.start) - time.Duration(since)
}

// Stats is what the spool holds and has done.
func (s *Spooler) Stats() spool.Stats { return s.spool.Stats() }

// keep writes what is unsent and not yet on disk; false when the disk refuses.
func (s *Spooler) keep(all bool) bool {
	for {
		items := s.outbox.unkept(spoolGroup, all)
		if len(items) == 0 {
			return true
		}
		if err := s.write(items); err != nil {
			s.complain(err)
			s.outbox.rewrite()
			return false
		}
		s.outbox.kept(items)
		if s.failed != "" {
			s.failed = ""
			s.log.Info().Msg("the spool takes frames again")
		}
	}
}

// write puts a group on disk and makes it durable.
func (s *Spooler) write(items []keeping) error {
	defer s.answered()
	for i := range items {
		s.asks()
		losses, err := s.spool.Put(items[i].msg)
		s.lost(losses)
		if err != nil {
			return err
		}
		items[i].refused = covers(losses, items[i].id)
	}
	s.asks()
	_, err := s.spool.Sync() // what it could not make durable is still in memory
	return err
}

// complain logs what the disk says, once for each thing it says.
func (s *Spooler) complain(err error) {
	if s.failed == err.Error() {
		return
	}
	s.failed = err.Error()
	s.log.Error().Err(err).Msg("frames cannot be kept on disk, they stay in memory as far as it reaches")
}

func (s *Spooler) lost(losses []spool.Loss) {
	if len(losses) == 0 {
		return
	}
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	s.lostLocked(losses)
}

// covers says whether id is among the losses.
func covers(losses []spool.Loss, id frame.ID) bool {
	for _, l := range losses {
		if !id.Less(l.First) && !l.Last.Less(id) {
			return true
		}
	}
	return false
}

// lostLocked declares what the spool had to give up, except what memory holds
// and Redis had, is just being given, or soon will be.
func (s *Spooler) lostLocked(losses []spool.Loss) {
	o := s.outbox
	for _, l := range losses {
		for i := 0; i < o.unsent.len(); i++ {
			e := o.unsent.at(i)
			if !e.onDisk() || e.file.Less(l.First) {
				continue
			}
			if l.Last.Less(e.file) {
				break
			}
			if e.ram > 0 && (e.again || !o.blocked.Load() || !o.inflight.Less(e.id) || e.pins.Load() > 0) {
				e.file, e.past = frame.ID{}, true
				continue
			}
			before := o.unsent.len()
			o.lose(i, l.Reason)
			i -= before - o.unsent.len()
		}
	}
}
