package outbox

import (
	"time"

	"framekeeper/pkg/frame"
)

// What may be unknown after a kill or a power cut, and the account at the end.

// window is how long before a kill what Redis has may be known to Redis alone: the
// journal is written every 70 s.
const simWindow = 75 * time.Second

// simSoon is how long before a kill a frame that Redis does not take may be in memory
// alone.
const simSoon = 5 * time.Second

// crashed finds out what a kill or a power cut, which has happened, may have taken
// every trace of.
func (l *simLedger) crashed(life *simLife) {
	w := l.world
	if life.spool == nil { // nobody knows whether it has sent something
		for _, x := range l.all {
			x.blinded = true
		}
	}
	w.unsaved = w.unsaved && life.saves == 0 || life.log != nil && life.saves <= life.renumbered
	well := w.now - w.disk.since
	if !w.disk.healthy() {
		well = 0
	}
	for _, x := range l.all {
		x.silent = x.silent || x.accepted && x.acceptedAt >= life.began && x.acceptedAt+time.Second >= life.saved
		switch {
		case !x.logged || x.trimmed || w.heard(x):
		case l.isDeclared(x):
			x.unknown = x.unknown || !l.remembers(x, life)
		case x.accepted:
			if x.acceptedAt < life.began || x.acceptedAt+time.Second < life.saved {
				continue
			}
			x.unknown = true
			if well > simWindow && w.now-x.acceptedAt > simWindow && life.saved < x.acceptedAt {
				l.fail("that frame %d (%s) was delivered was not in the journal after %s", x.n, x.id, w.now-x.acceptedAt)
			}
		case w.anywhere(x):
		case x.life == w.lives:
			x.unknown = true
			if well > simSoon+2*time.Second && w.now-x.at > simSoon && !x.dropped && !life.gaveUp(x.id) && life.spools(x) && w.setup.mode.Streams() {
				l.fail("frame %d (%s) was in memory alone for %s when the process was killed", x.n, x.id, w.now-x.at)
			}
		case x.dropped && (x.droppedAt+time.Second >= life.saved || life.channel != nil): // on a channel memory may have had it until later
			x.unknown = true
		}
	}
	l.forgets(life)
}

// spools reports whether the spool takes a frame of such a size.
func (l *simLife) spools(x *exposure) bool {
	const header = 600
	return l.spool != nil && x.size+header < l.spool.max
}

// gaveUp reports whether the process has given a frame up, and was about to declare it.
func (l *simLife) gaveUp(id frame.ID) bool {
	i := l.log.items.search(id)
	return i < len(l.log.items) && !id.Less(l.log.items[i].first) && l.log.items[i].place == nowhere
}

// blind notes the entry of a start that cannot read the spool: of everything that the stream does
// not have nobody knows whether it is there.
func (l *simLedger) blind() {
	for _, x := range l.all {
		x.unknown = x.unknown || !x.present
		x.blinded = true
	}
}

// forgotten notes that the state directory was lost: what was known before cannot be
// declared any more.
func (l *simLedger) forgotten() {
	l.stateGap = len(l.all)
	for _, x := range l.all {
		x.blinded = true
	}
}

// account is the sum at the end, for one reader of the stream.
func (l *simLedger) account(r *simReader) {
	c := &l.world.counts
	if r != l.world.readers[0] {
		c = &simCounts{} // each frame counts once
	}
	for _, x := range l.all {
		if !x.logged {
			continue
		}
		_, has := r.got[x.n]
		switch {
		case has:
			c.delivered++
		case r.declared[x.id]:
			c.declared++
		case x.trimmed:
			c.trimmed++
		case x.unknown && l.confessed(x):
			c.unknown++
		case x.n < uint64(l.stateGap): //nolint:gosec // not negative
			c.unknown++
		default:
			l.fail("reader %s neither has frame %d (%s) nor was it declared (in the stream once: %v, may be unknown: %v)",
				r.name, x.n, x.id, x.accepted, x.unknown)
		}
	}
}

// confessed reports whether a later epoch began by saying that frames such as x may be
// unknown: at the end of their epoch, above the last ID that is known of it.
func (l *simLedger) confessed(x *exposure) bool {
	for _, s := range l.started {
		if s.id.Epoch > x.id.Epoch && !s.clean && (s.previous.Epoch != x.id.Epoch || s.previous.Less(x.id)) {
			return true
		}
	}
	return false
}

// hearing is the sum at the end with delivery pubsub.
func (l *simLedger) hearing() {
	c := &l.world.counts
	for _, x := range l.all {
		if !x.logged {
			continue
		}
		declared := false
		for _, d := range l.onChannel {
			declared = declared || d.covers(x.id)
		}
		_, heard := l.heardOf[x.n]
		switch {
		case heard:
			c.delivered++
		case declared:
			c.declared++
		case x.unknown, x.n < uint64(l.stateGap): //nolint:gosec // not negative
			c.unknown++
		default:
			l.fail("frame %d (%s) was neither published to a subscriber nor declared", x.n, x.id)
		}
	}
}

// onDisk reports whether the present process has an intact file of a frame.
func (w *simWorld) onDisk(id frame.ID) bool {
	if w.life == nil || w.life.spool == nil {
		return false
	}
	x := w.ledger.given[id]
	for _, f := range w.life.spool.files {
		if f.durable && !f.torn && (f.id == id || x != nil && w.ledger.given[f.id] == x) {
			return true
		}
	}
	return false
}

// anywhere reports whether a directory has a file of a frame, whatever its state.
func (w *simWorld) anywhere(x *exposure) bool {
	for _, name := range []string{"a", "b"} {
		for _, f := range w.disk.stores[name].files {
			if w.ledger.given[f.id] == x {
				return true
			}
		}
	}
	return false
}

// heard reports whether the channel passed a frame on, where that counts.
func (w *simWorld) heard(x *exposure) bool {
	_, is := w.ledger.heardOf[x.n]
	return is && w.setup.mode == ModePubSub
}
