package outbox

import (
	"cmp"
	"math"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/spool"
)

// This file is the log as the Spooler uses it: what is to go to disk, and what is
// there.

// attach takes over the spool that an earlier start left. The epoch is raised above
// those of the frames there: the saved epoch may be lost and the clock be wrong, and
// Redis accepts only IDs that rise.
func (l *Log) attach(s Store, losses []spool.Loss) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.store = s
	var old frame.ID
	newest := uint64(0)
	for ids := s.IDs(frame.ID{}, 1000); len(ids) > 0; ids = s.IDs(ids[len(ids)-1], 1000) {
		for _, file := range ids {
			id, moved := l.ledger.idOf(file)
			if moved {
				if len(l.items) == 0 { // else it goes with those before it
					old = file
				}
				continue
			}
			newest = max(newest, id.Epoch)
			l.ledger.give(id)
			l.items.insert(l.items.search(id), &item{id: id, first: id, place: onDisk, progress: unsent, file: file, key: file})
		}
	}
	if newest >= l.epoch && newest < math.MaxUint64 {
		l.cfg.Log.Warn().Uint64("epoch", newest+1).Stringer("last", l.items[len(l.items)-1].id).
			Msg("Frames on disk are ahead of this agent's clock; the epoch is raised above theirs")
		l.changeEpoch(newest + 1)
	}
	l.removable = old
	if n := len(l.items); n > 0 {
		l.cfg.Log.Info().Int("frames", n).Stringer("first", l.items[0].id).Stringer("last", l.items[n-1].id).
			Msg("Frames of an earlier start are on disk; they are sent first")
	}
	l.noteLosses(losses)
	if l.cfg.Stream == 0 {
		l.insertLosses()
	}
}

// changeEpoch is for a log that has given no ID, or gives those it has another one.
func (l *Log) changeEpoch(to uint64) {
	given := uint64(0)
	if i, known := l.ledger.find(l.epoch); known {
		given = l.ledger.epochs[i].given
		l.ledger.epochs = append(l.ledger.epochs[:i], l.ledger.epochs[i+1:]...)
	}
	l.epoch, l.started = to, startedHeader{}
	e := l.ledger.open(to)
	e.given, e.blind = given, l.unreadable
}

// noteLosses has what the spool dropped before it was attached declared with its
// reason.
func (l *Log) noteLosses(losses []spool.Loss) {
	for _, loss := range losses {
		first, old := l.ledger.idOf(loss.First)
		last, older := l.ledger.idOf(loss.Last)
		if old || older || first.Epoch != last.Epoch {
			continue
		}
		l.ledger.give(last)
		l.ledger.addLoss(first, last, loss.Reason)
		l.countLoss(loss.Reason, last.Seq-first.Seq+1)
		l.cfg.Log.Warn().Stringer("first", first).Stringer("last", last).Str("reason", loss.Reason).
			Msg("Frames of an earlier start were lost; they are declared")
	}
}

// insertLosses has what earlier starts gave up declared on the channel. What else is
// missing there were answers.
func (l *Log) insertLosses() {
	for _, s := range l.ledger.losses {
		sent := l.ledger.sent(s.last.Epoch)
		if !sent.Less(s.last) {
			continue
		}
		s.first = frame.Later(s.first, sent.Next())
		i := l.items.search(s.first)
		for ; i < len(l.items) && !s.last.Less(l.items[i].first); i++ { // it was being written, or a power cut brought it back
			if there := l.items[i]; s.first.Less(there.first) {
				l.items.insert(i, lostRun(s.first, frame.ID{Epoch: s.first.Epoch, Seq: there.first.Seq - 1}, s.reason))
				i++
			}
			s.first = l.items[i].id.Next()
		}
		if !s.last.Less(s.first) {
			l.items.insert(i, lostRun(s.first, s.last, s.reason))
		}
	}
}

// WithoutSpool notes that the spool cannot be read, and may have frames of earlier
// starts.
func (l *Log) WithoutSpool() {
	l.mu.Lock()
	l.unreadable = true
	l.ledger.open(l.epoch).blind = true
	l.mu.Unlock()
	l.saveEpoch()
}

// spooling is an item on its way to the spool.
type spooling struct {
	item    *item
	id      frame.ID // of its file: what Redis lost goes where it was, for files are removed in order
	msg     *frame.Message
	refused string // why the spool, full of newer ones, did not take it
}

// toSpool lists unsent items that are not on disk and should be: all of them while
// Redis accepts nothing, and while memory is filling.
func (l *Log) toSpool(n int, all bool) (items []spooling) {
	l.mu.Lock()
	defer l.mu.Unlock()
	needed := l.ending || !l.memoryOnly && (!l.writable || l.stuck || l.cfg.DiskFirst || l.nearLimit() || l.drainingDisk())
	if !all && !needed {
		return nil
	}
	start := l.delivered
	if !l.offered.IsZero() {
		start = max(start, l.items.search(l.offered.Next()))
	}
	for _, e := range l.items[start:] {
		if len(items) == n {
			break
		}
		if e.spoolable() {
			items = append(items, spooling{item: e, id: cmp.Or(e.key, e.id), msg: e.msg})
		}
		l.offered = e.id
	}
	return items
}

// SpoolAll has everything unsent go to disk from now on: the process is to end.
func (l *Log) SpoolAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ending = true
	l.offerAgain()
	l.spoolable.Call()
}

// offerAgain has the spool offered once more what it does not have: it may have
// room now. The caller has mu.
func (l *Log) offerAgain() {
	l.offered = frame.ID{}
	for _, e := range l.items[l.delivered:] {
		e.refused = false
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

// retryDisk has what DiskFirst is for wait for the disk once more: it may work again,
// and Redis would otherwise have every frame before the disk is asked.
func (l *Log) retryDisk() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.diskFailed = false
}

// spooled notes that items are on disk.
func (l *Log) spooled(items []spooling) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.diskFailed = false
	for _, s := range items {
		e := s.item
		switch {
		case s.refused != "":
			e.refused = true
			if e.place == inMemory {
				e.reason = s.refused
			}
		case e.progress == delivered: // Redis has it by now
			l.removable = frame.Later(l.removable, s.id)
			l.spoolable.Call()
		case e.place == inMemory && !l.removable.Less(s.id): // Redis had it and lost it since: its file is about to be removed
			l.offered = frame.ID{}
		case e.place == inMemory:
			e.file, e.key, e.reason = s.id, s.id, ""
			l.set(e, inMemoryAndDisk, e.progress)
		}
	}
	l.settle()
	l.sendable.Call()
}

// takeRemovable is the file up to which Redis has what is on disk, once.
func (l *Log) takeRemovable() frame.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	upTo := l.removable
	l.removable = frame.ID{}
	return upTo
}

// spoolDrops notes what the spool dropped: what memory does not have is lost.
func (l *Log) spoolDrops(losses []spool.Loss) {
	if len(losses) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, loss := range losses {
		for i := l.delivered; i < len(l.items); i++ {
			e := l.items[i]
			if e.file.IsZero() || e.file.Less(loss.First) {
				continue
			}
			if loss.Last.Less(e.file) {
				break
			}
			i -= l.spoolDropped(i, loss.Reason)
		}
	}
	l.settle()
}

// spoolDropped notes that the spool does not have the item at index i any more, and
// returns by how much its index is lower afterwards.
func (l *Log) spoolDropped(i int, reason string) (lower int) {
	e := l.items[i]
	switch {
	case e.place == inMemoryAndDisk:
		e.file, e.reason, e.refused = frame.ID{}, reason, true
		l.set(e, inMemory, e.progress)
	case e.progress == inFlight: // it may just be read
		e.file, e.reason = frame.ID{}, reason
	default:
		return l.loseAt(i, reason)
	}
	return 0
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
	for i := len(l.items) - 1; i >= l.delivered; i-- {
		if e := l.items[i]; !e.file.IsZero() && e.id.Epoch != l.epoch {
			all = append(all, Earlier{e.id, e.file})
		}
	}
	return all
}
