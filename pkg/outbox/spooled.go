package outbox

import (
	"math"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/spool"
)

// This file is the log as the Spooler uses it: what is to go to disk, and what is
// there.

// attach takes over the spool that an earlier start left. The epoch is raised above
// those of the frames there: the saved epoch may be lost and the clock be wrong, and
// Redis accepts only IDs that rise.
func (l *Log) attach(d disk, s *spool.Spool, losses []spool.Loss, diskFirst bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.disk, l.diskFirst = d, diskFirst
	if newest := s.Stats().Newest; newest.Epoch >= l.epoch && newest.Epoch < math.MaxUint64 {
		l.log.Warn().Uint64("epoch", newest.Epoch+1).Stringer("last", newest).
			Msg("Frames on disk are ahead of this agent's clock; the epoch is raised above theirs")
		l.epoch = newest.Epoch + 1
	}
	var before frame.ID
	for ids := s.IDs(before, 1000); len(ids) > 0; ids = s.IDs(before, 1000) {
		for _, id := range ids {
			if before.Epoch == id.Epoch && before.Next() != id {
				l.countLoss(reasonRestart, id.Seq-before.Seq-1)
				l.unsent.push(newDeclaration(before.Next(), id, reasonRestart))
			}
			l.unsent.push(&Item{id: id, file: id})
			before = id
		}
	}
	if e := l.unsent.head(); e != nil {
		l.log.Info().Int("frames", len(l.unsent.items)).Stringer("first", e.id).Stringer("last", before).
			Msg("Frames of an earlier start are on disk; they are sent first")
	}
	l.spoolDropped(losses)
}

// spooling is an item on its way to the spool.
type spooling struct {
	item    *Item
	id      frame.ID
	msg     *frame.Message
	refused bool // the spool is full of newer ones
}

// toSpool lists unsent items that are not on disk and should be: all of them while
// Redis accepts nothing, and while memory is filling.
func (l *Log) toSpool(n int, all bool) (items []spooling) {
	l.mu.Lock()
	defer l.mu.Unlock()
	needed := !l.memoryOnly && (!l.writable.Load() || l.stuck.Load() || l.diskFirst || l.nearLimit() || l.drainingDisk())
	if !all && !needed {
		return nil
	}
	start := 0
	if !l.offered.IsZero() {
		start = l.unsent.search(l.offered.Next())
	}
	for _, e := range l.unsent.items[start:] {
		if len(items) == n {
			break
		}
		if m := e.Message(); m != nil && e.spoolable() {
			items = append(items, spooling{item: e, id: e.id, msg: m})
		}
		l.offered = e.id
	}
	return items
}

// offerAll makes toSpool begin at the head again, when the process ends.
func (l *Log) offerAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.offerAgain()
}

// offerAgain has the spool offered once more what it does not have: it may have
// room now. The caller has mu.
func (l *Log) offerAgain() {
	l.offered = frame.ID{}
	for _, e := range l.unsent.items {
		e.diskRefused = false
	}
}

// spoolFailed makes toSpool begin at the head again, after the disk has failed.
// Redis may accept frames all the same, so nothing waits for the disk now.
func (l *Log) spoolFailed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.offered = frame.ID{}
	l.diskFailed = true
	l.sendable.Call()
}

// spooled notes that items are on disk. When memory is filling they are evicted.
func (l *Log) spooled(items []spooling) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.diskFailed = false
	for _, s := range items {
		e := s.item
		if e.lost != nil {
			continue
		}
		if s.refused {
			e.diskRefused = true
			continue
		}
		e.file = s.id
		i := l.unsent.search(e.id)
		if i == len(l.unsent.items) || l.unsent.items[i] != e { // Redis has it by now
			if l.removable.Less(s.id) {
				l.removable = s.id
				l.spoolable.Call()
			}
			continue
		}
		filling := l.retained.bytes+l.unsent.bytes > l.limit*3/4
		if filling && !e.redisLost && l.inFlight.Less(e.id) && !e.pinned() && e.sendable() {
			l.unsent.setMessage(e, nil)
		}
	}
	l.sendable.Call()
}

// takeRemovable is the ID up to which Redis has what is on disk, once.
func (l *Log) takeRemovable() frame.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	upTo := l.removable
	l.removable = frame.ID{}
	return upTo
}

// spoolDrops declares what the spool dropped.
func (l *Log) spoolDrops(losses []spool.Loss) {
	if len(losses) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spoolDropped(losses)
}

// spoolDropped declares what the spool dropped, except frames in memory that Redis
// had, is just being sent, or soon will be. The caller has mu.
func (l *Log) spoolDropped(losses []spool.Loss) {
	for _, loss := range losses {
		for i := 0; i < len(l.unsent.items); i++ {
			e := l.unsent.items[i]
			if !e.onDisk() || e.file.Less(loss.First) {
				continue
			}
			if loss.Last.Less(e.file) {
				break
			}
			if e.memory > 0 && (e.redisLost || l.writable.Load() || !l.inFlight.Less(e.id) || e.pinned()) {
				e.file, e.diskRefused = frame.ID{}, true
				continue
			}
			before := len(l.unsent.items)
			l.dropAt(i, loss.Reason)
			i -= before - len(l.unsent.items)
		}
	}
}

// setMemoryOnly notes that frames are not to go to disk for now.
func (l *Log) setMemoryOnly(is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.memoryOnly = is
}

// Earlier is a frame of an earlier start that is still on disk.
type Earlier struct{ id, file frame.ID }

// earlier lists the frames of earlier starts on disk, newest first.
func (l *Log) earlier() (all []Earlier) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.unsent.items) - 1; i >= 0; i-- {
		if e := l.unsent.items[i]; e.onDisk() && e.id.Epoch != l.epoch {
			all = append(all, Earlier{e.id, e.file})
		}
	}
	return all
}
