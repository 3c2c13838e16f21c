package outbox

import (
	"cmp"
	"math"
	"slices"

	"framekeeper/pkg/frame"
)

// ledger is what is known of all IDs that were ever given, over every start: enough
// to name what is missing, whatever is left of the frames. It is plain data; the
// Log's mutex guards it, the Journal saves it.
type ledger struct {
	epochs []epoch    // ascending
	floor  frame.ID   // the stream's entries below it were trimmed
	moves  []move     // frames that were given other IDs
	losses []lossSpan // ascending; frames that were given up
}

// epoch is one start's IDs, 1 to given.
type epoch struct {
	number uint64
	given  uint64 // more may have been if the start did not end in order
	sent   uint64 // Redis, or a subscriber, has had those up to this, as frames or declared
	closed bool   // it ended in order
	blind  bool   // it could not read the spool: frames of those before may wait there
}

// move is a change of IDs: the spool's file <file>-n is frame <epoch>-(n - minus).
type move struct {
	file, minus, epoch uint64
}

// lossSpan is a run of frames of one epoch that were given up.
type lossSpan struct {
	first, last frame.ID
	reason      string
}

const (
	maxEpochs = 512 // whose IDs are known; each is one start
	maxMoves  = 64
	maxSpans  = 4096
)

func (l *ledger) find(number uint64) (int, bool) {
	return slices.BinarySearchFunc(l.epochs, number, func(e epoch, n uint64) int { return cmp.Compare(e.number, n) })
}

// open adds an epoch without frames, if it is not known.
func (l *ledger) open(number uint64) *epoch {
	i, known := l.find(number)
	if !known {
		l.epochs = slices.Insert(l.epochs, i, epoch{number: number})
		if len(l.epochs) > maxEpochs {
			l.epochs = slices.Delete(l.epochs, 0, 1)
			i = max(i-1, 0)
		}
	}
	return &l.epochs[i]
}

// give notes that an ID, and all before it in its epoch, were given.
func (l *ledger) give(id frame.ID) {
	if id.IsZero() {
		return
	}
	e := l.open(id.Epoch)
	e.given = max(e.given, id.Seq)
}

// delivered notes that Redis has had an ID, and all before it in its epoch.
func (l *ledger) delivered(id frame.ID) {
	e := l.open(id.Epoch)
	e.sent, e.given = max(e.sent, id.Seq), max(e.given, id.Seq)
}

// found notes an entry of the stream. Of an epoch that no journal has, it is not known
// whether its start had the spool.
func (l *ledger) found(id frame.ID) {
	_, known := l.find(id.Epoch)
	l.delivered(id)
	if !known {
		l.open(id.Epoch).blind = true
	}
}

// settleBefore notes that all given before an epoch was sent, as frames or declared.
func (l *ledger) settleBefore(number uint64) {
	for i := range l.epochs {
		if e := &l.epochs[i]; e.number < number {
			e.sent = e.given
		}
	}
}

// sent is up to where Redis has had an epoch. One that is forgotten was delivered.
func (l *ledger) sent(number uint64) frame.ID {
	seq := uint64(0)
	if i, known := l.find(number); known {
		seq = l.epochs[i].sent
	} else if number < l.floor.Epoch {
		seq = math.MaxUint64
	}
	return frame.ID{Epoch: number, Seq: seq}
}

// newestBefore is the highest ID given before an epoch; zero if none is known.
func (l *ledger) newestBefore(number uint64) frame.ID {
	for _, e := range slices.Backward(l.epochs) {
		if e.number < number && e.given > 0 {
			return frame.ID{Epoch: e.number, Seq: e.given}
		}
	}
	return frame.ID{}
}

// complete reports whether all IDs that were given after last, the stream's last
// entry, and before epoch own are known: every start since ended in order.
func (l *ledger) complete(last frame.ID, own uint64) bool {
	known := last.IsZero() || last.Epoch >= own
	for _, e := range l.epochs {
		if e.number >= own {
			break
		}
		if e.number >= last.Epoch && !e.closed {
			return false
		}
		known = known || e.number == last.Epoch
	}
	return known
}

// span is a run of IDs of one epoch.
type span struct{ first, last frame.ID }

// above lists the IDs that were given above after and were not trimmed.
func (l *ledger) above(after frame.ID) (spans []span) {
	for _, e := range l.epochs {
		first := uint64(1)
		switch {
		case e.number < after.Epoch:
			first = e.given + 1
		case e.number == after.Epoch:
			first = after.Seq + 1
		}
		first = max(first, l.firstLeft(e))
		if first <= e.given {
			spans = append(spans, span{frame.ID{Epoch: e.number, Seq: first}, frame.ID{Epoch: e.number, Seq: e.given}})
		}
	}
	return spans
}

// firstLeft is the first sequence number of an epoch that cannot have been trimmed: it
// was not sent, or is above the floor, or its declaration is.
func (l *ledger) firstLeft(e epoch) uint64 {
	switch {
	case e.number < l.floor.Epoch:
		return e.sent + 1
	case e.number > l.floor.Epoch:
		return 1
	}
	for _, s := range l.losses {
		if s.first.Less(l.floor) && !s.last.Less(l.floor) {
			return min(s.first.Seq, e.sent+1)
		}
	}
	return min(l.floor.Seq, e.sent+1)
}

// raiseFloor notes that everything below floor was trimmed, and forgets that. Epochs are
// forgotten by the next start: a line of the journal may be older than what is known now.
func (l *ledger) raiseFloor(floor frame.ID) {
	if l.floor.Less(floor) {
		l.floor = floor
		l.forget()
	}
}

// forget forgets the losses among what was trimmed. Moves stay as long as there is room: a
// file may be there still, or again after a power cut.
func (l *ledger) forget() {
	floor := l.floor
	l.losses = slices.DeleteFunc(l.losses, func(s lossSpan) bool { return s.last.Less(floor) })
}

// addLoss notes a run of frames of one epoch that were given up.
func (l *ledger) addLoss(first, last frame.ID, reason string) {
	i, _ := slices.BinarySearchFunc(l.losses, first, func(s lossSpan, id frame.ID) int { return s.first.Compare(id) })
	if i > 0 {
		if p := &l.losses[i-1]; p.last.Epoch == first.Epoch && !p.last.Next().Less(first) && (p.reason == reason || !p.last.Less(last)) {
			p.last = frame.Later(p.last, last)
			return
		}
	}
	l.losses = slices.Insert(l.losses, i, lossSpan{first, last, reason})
	if len(l.losses) > maxSpans {
		l.joinOldestLosses()
	}
}

// joinOldestLosses makes room: two neighbours get one reason, if possible two without
// answers of a channel between them, which are declared as well then.
func (l *ledger) joinOldestLosses() {
	joined := -1
	for i := range len(l.losses) - 1 {
		a, b := l.losses[i], l.losses[i+1]
		if a.last.Next() == b.first {
			joined = i
			break
		}
		if joined < 0 && a.last.Epoch == b.first.Epoch {
			joined = i
		}
	}
	if joined < 0 { // each epoch has one
		l.losses = slices.Delete(l.losses, 0, 1)
		return
	}
	a, b := l.losses[joined], l.losses[joined+1]
	l.losses[joined] = lossSpan{a.first, b.last, joinReasons(a.reason, b.reason)}
	l.losses = slices.Delete(l.losses, joined+1, joined+2)
}

// reasonOf is why first was given up, and up to where, at most last, that holds; ""
// if it was not.
func (l *ledger) reasonOf(first, last frame.ID) (reason string, end frame.ID) {
	for _, s := range l.losses {
		switch {
		case s.last.Less(first):
		case last.Less(s.first):
			return "", last
		case first.Less(s.first):
			return "", frame.ID{Epoch: first.Epoch, Seq: s.first.Seq - 1}
		case s.last.Less(last):
			return s.reason, s.last
		default:
			return s.reason, last
		}
	}
	return "", last
}

// idOf is the ID of the frame in a file of the spool. An older one was delivered before
// its epoch's IDs were changed, or with all of those that they were changed to: old.
func (l *ledger) idOf(file frame.ID) (id frame.ID, old bool) {
	for _, m := range slices.Backward(l.moves) {
		if m.file != file.Epoch {
			continue
		}
		if file.Seq <= m.minus {
			return file, true
		}
		_, known := l.find(m.epoch)
		return frame.ID{Epoch: m.epoch, Seq: file.Seq - m.minus}, !known && m.epoch < l.floor.Epoch
	}
	return file, false
}

// moved notes a change of IDs. A later one for the same files replaces it.
func (l *ledger) moved(m move) {
	l.moves = slices.DeleteFunc(l.moves, func(o move) bool { return o.file == m.file })
	if l.moves = append(l.moves, m); len(l.moves) > maxMoves {
		l.moves = slices.Delete(l.moves, 0, 1)
	}
}

// moveLosses gives lost frames of some IDs those of another epoch, from 1 on.
func (l *ledger) moveLosses(ids span, to uint64) {
	old := l.losses
	l.losses = nil
	for _, s := range old {
		if s.last.Less(ids.first) || ids.last.Less(s.first) {
			l.addLoss(s.first, s.last, s.reason)
			continue
		}
		if s.first.Less(ids.first) {
			l.addLoss(s.first, frame.ID{Epoch: s.first.Epoch, Seq: ids.first.Seq - 1}, s.reason)
			s.first = ids.first
		}
		if ids.last.Less(s.last) {
			l.addLoss(ids.last.Next(), s.last, s.reason)
			s.last = ids.last
		}
		done := ids.first.Seq - 1
		l.addLoss(frame.ID{Epoch: to, Seq: s.first.Seq - done}, frame.ID{Epoch: to, Seq: s.last.Seq - done}, s.reason)
	}
}

// clone is a copy that shares nothing.
func (l *ledger) clone() ledger {
	c := *l
	c.epochs, c.moves, c.losses = slices.Clone(l.epochs), slices.Clone(l.moves), slices.Clone(l.losses)
	return c
}
