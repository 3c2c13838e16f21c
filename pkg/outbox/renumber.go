package outbox

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"framekeeper/pkg/frame"
)

var errRenumber = errors.New("frames of this epoch were already sent")

// reached is how far readers may be: to the stream's last entry, or to what a start that
// could not read the spool has sent and Redis has lost.
func (l *Log) reached(last frame.ID) frame.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.ledger.epochs {
		if e.blind && e.number != l.epoch && (e.sent > 0 || !e.closed) {
			last = frame.Later(last, frame.ID{Epoch: e.number, Seq: e.sent})
		}
	}
	return last
}

// overtaken lists, from the lowest on, the epochs of earlier starts' frames that
// the stream has gone beyond: its last entry is of a later epoch, and it accepts
// nothing under their IDs any more. A start that could not read the spool, or another
// writer, is the cause.
func (l *Log) overtaken(last frame.ID) (epochs []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.ledger.epochs { // that of each frame on disk is among them
		if e.number >= last.Epoch || e.number >= l.epoch {
			break
		}
		if e.sent < e.given && !l.passed(e.number, last.Epoch) {
			epochs = append(epochs, e.number)
		}
	}
	return epochs
}

// fillOvertaken adds a lost run for each epoch that the stream has gone beyond and of
// which nothing is on disk.
func (l *Log) fillOvertaken(had map[uint64]frame.ID) {
	if l.unreadable {
		return // the spool may have them
	}
	for _, e := range slices.Clone(l.ledger.epochs) {
		end, overtaken := had[e.number]
		first := frame.ID{Epoch: e.number, Seq: max(end.Seq, e.sent) + 1}
		i := l.items.search(frame.ID{Epoch: e.number})
		there := i < len(l.items) && l.items[i].id.Epoch == e.number // what is missing beside them is filled in later
		if overtaken && !there && !first.Less(l.ledger.floor) {
			l.items.insert(i, l.appendLost(nil, first, frame.ID{Epoch: e.number, Seq: e.given})...)
		}
	}
}

// renumber gives what is unsent new IDs above last, the end of a stream that is
// ahead of us (the saved epoch was lost and the clock is behind) or of frames of
// earlier starts. Those keep their order, in epochs of their own; had is up to where
// the stream has their epochs. It is allowed only before anything was sent, and
// reports whether there was anything to change.
func (l *Log) renumber(last frame.ID, had map[uint64]frame.ID) (changed bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.delivered > 0 {
		return false, errRenumber
	}
	if last.Epoch == math.MaxUint64 { // there is none above that: a conflict
		return false, nil
	}
	for _, epoch := range slices.Sorted(maps.Keys(had)) {
		if end := had[epoch]; !end.IsZero() {
			l.ledger.delivered(end)
		}
	}
	l.dropHad(last, had)
	l.fillOvertaken(had)
	above := max(last.Epoch, l.epoch)
	beyond := len(l.items) > 0 && l.items[0].id.Epoch < min(last.Epoch, l.epoch)
	if last.Epoch < l.epoch && !beyond {
		return false, nil // the stream had what it has gone beyond
	}
	if l.epoch > last.Epoch {
		above = l.epoch // whose IDs may have been given
	}
	epoch, err := l.moveEarlier(above, last, had)
	if err != nil {
		return false, err
	}
	return true, l.moveOwn(epoch + 1)
}

// dropHad takes out what the stream had. The spool removes files only up to an ID:
// one behind a frame that is still to be sent goes with that.
func (l *Log) dropHad(last frame.ID, had map[uint64]frame.ID) {
	var rest list
	for len(l.items) > 0 {
		e := l.items[0]
		if !l.has(e.id, last, had) {
			rest.push(l.items.remove(0))
			continue
		}
		removable := l.removable
		l.deliver(e)
		if len(rest) > 0 {
			l.removable = removable
		}
		l.pop()
	}
	l.items = rest
}

// has reports whether the stream had a frame of an earlier start: it has it, or has
// it no more.
func (l *Log) has(id, last frame.ID, had map[uint64]frame.ID) bool {
	switch {
	case id.Epoch == l.epoch:
		return false
	case id.Epoch == last.Epoch:
		return !last.Less(id)
	case last.Less(id):
		return false
	}
	return !had[id.Epoch].Less(id) || !l.ledger.sent(id.Epoch).Less(id) || l.passed(id.Epoch, last.Epoch)
}

// passed reports whether an epoch's frames are certain to have been sent, or declared:
// a later start that had the spool, and sends first what is there, has sent some of its
// own. A file of that epoch is then one whose removal a power cut undid.
func (l *Log) passed(epoch, last uint64) bool {
	if l.journal == nil {
		return false
	}
	if _, known := l.journal.start.find(epoch); !known {
		return false
	}
	for _, later := range l.journal.start.epochs {
		if later.number > epoch && !later.blind && (later.sent > 0 || later.number == last) {
			return true
		}
	}
	return false
}

// moveEarlier moves the frames of earlier starts into epochs above one, and returns
// the last.
func (l *Log) moveEarlier(above uint64, last frame.ID, had map[uint64]frame.ID) (uint64, error) {
	from := uint64(0)
	var m move
	for _, e := range l.items {
		if e.id.Epoch == l.epoch {
			break
		}
		if e.id.Epoch != from {
			from, above = e.id.Epoch, above+1
			done := had[from].Seq // of this epoch, as far as the stream has had it
			if last.Epoch == from {
				done = max(done, last.Seq)
			}
			done = max(done, l.ledger.sent(from).Seq)
			m = l.moveEpoch(from, above, min(done, e.first.Seq-1), e.file)
		}
		if err := l.moveItem(e, m); err != nil {
			return 0, err
		}
	}
	return above, nil
}

// moveEpoch notes that the IDs of an epoch above done are those of another one,
// without these. file is the first of them in the spool.
func (l *Log) moveEpoch(from, to, done uint64, file frame.ID) move {
	e := l.ledger.open(from)
	given := e.given - min(done, e.given)
	e.given -= given // before another is opened, which moves e
	closed := e.closed
	l.ledger.give(frame.ID{Epoch: to, Seq: given})
	l.ledger.open(to).closed = closed // else more of its frames may be unknown
	before, moved := uint64(0), false // a frame that was moved before
	lost := file.IsZero()
	if lost { // then it is as if its file had that ID
		file.Epoch = from
	}
	for _, m := range l.ledger.moves {
		if m.file == file.Epoch {
			before, moved = m.minus, true
		}
	}
	if !lost || !moved { // else the files of that epoch are of other frames
		l.ledger.moved(move{file: file.Epoch, minus: before + done, epoch: to})
	}
	l.ledger.moveLosses(from, done, to)
	return move{file: from, minus: done, epoch: to}
}

// moveOwn moves this start's frames into an epoch that the stream accepts.
func (l *Log) moveOwn(to uint64) error {
	m := move{file: l.epoch, epoch: to}
	for _, e := range l.items {
		if e.id.Epoch != l.epoch || e.isStarted {
			continue
		}
		if err := l.moveItem(e, m); err != nil {
			return err
		}
	}
	l.ledger.moved(m)
	l.ledger.moveLosses(m.file, 0, to)
	l.changeEpoch(to)
	if !l.stats.Newest.IsZero() {
		l.stats.Newest.Epoch = to
	}
	return nil
}

// moveItem gives an item another ID. What is on disk keeps its file.
func (l *Log) moveItem(e *item, m move) error {
	e.id = frame.ID{Epoch: m.epoch, Seq: e.id.Seq - m.minus}
	e.first = frame.ID{Epoch: m.epoch, Seq: e.first.Seq - m.minus}
	for _, id := range []*frame.ID{&e.dropped, &e.declaredTo} {
		if !id.IsZero() {
			*id = frame.ID{Epoch: m.epoch, Seq: id.Seq - min(m.minus, id.Seq)}
		}
	}
	if e.msg == nil {
		return nil
	}
	msg, err := withID(e.msg, e.id)
	if err != nil {
		return err
	}
	where := e.place
	l.held[where][e.progress] -= e.memory()
	l.load(e, msg, where)
	return nil
}

// withID is the message under the ID that its frame has now: the frame may have
// been renumbered since the message was built.
func withID(m *frame.Message, id frame.ID) (*frame.Message, error) {
	if m.Header.ID == id {
		return m, nil
	}
	h := m.Header
	h.ID = id
	m, err := frame.NewMessage(h, m.Image())
	if err != nil {
		return nil, fmt.Errorf("renumber message: %w", err)
	}
	return m, nil
}
