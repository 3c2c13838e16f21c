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

// unsettled is the highest epoch that is known below one of the stream's, if frames of
// those may be neither there nor declared. They are not if the start of that one had the
// spool and a journal: it compared the stream's end with what is known before it added
// anything.
func (l *Log) unsettled(epoch uint64) (next uint64, is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, _ := l.ledger.find(min(epoch, l.epoch))
	if i == 0 || l.knew(epoch) {
		return 0, false
	}
	return l.ledger.epochs[i-1].number, true
}

// knew reports whether an earlier start had the spool, and its epoch is in the journal.
func (l *Log) knew(epoch uint64) bool {
	if l.journal == nil {
		return false
	}
	i, known := l.journal.start.find(epoch)
	return known && !l.journal.start.epochs[i].blind
}

// overtaken is what the stream has of the epochs that its last entry has gone beyond,
// so that it accepts nothing under their IDs any more. A start that could not read the
// spool, or another writer, is the cause.
type overtaken struct {
	last    frame.ID            // the stream's end, or beyond that how far readers may be
	settled uint64              // all of the epochs below was sent or declared
	had     map[uint64]frame.ID // the last entry of an epoch; none: it has none of it
}

// done is up to where an epoch's frames are not to be sent: the stream has them, or has
// trimmed them, or Redis has lost them. Those above had are to be declared.
func (l *Log) done(epoch uint64, o overtaken) (had, sent uint64) {
	had, sent = o.had[epoch].Seq, l.ledger.sent(epoch).Seq
	if epoch == o.last.Epoch {
		had = max(had, o.last.Seq)
	}
	switch floor := l.ledger.floor; {
	case epoch == floor.Epoch:
		had = max(had, max(floor.Seq, 1)-1)
	case epoch < floor.Epoch: // what was sent was trimmed
		had = max(had, sent)
	}
	return had, max(had, sent)
}

// renumber gives what is unsent new IDs above the end of a stream that is ahead of us
// (the saved epoch was lost and the clock is behind) or of frames of earlier starts.
// Those keep their order, in epochs of their own; so does what Redis lost of them, which
// is declared. It is allowed only before anything was sent, and reports whether there
// was anything to change.
func (l *Log) renumber(o overtaken) (changed bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.delivered > 0 {
		return false, errRenumber
	}
	if o.last.Epoch == math.MaxUint64 { // there is none above that: a conflict
		return false, nil
	}
	for _, epoch := range slices.Sorted(maps.Keys(o.had)) {
		if _, known := l.ledger.find(epoch); known {
			l.ledger.delivered(o.had[epoch])
		}
	}
	beyond := l.remaining(o)
	l.dropHad(o, len(beyond) > 0)
	if len(beyond) == 0 && o.last.Epoch < l.epoch {
		return false, nil
	}
	for _, e := range l.ledger.epochs { // those after them stay behind them
		if len(beyond) > 0 && e.number >= o.last.Epoch && e.number < l.epoch {
			beyond = append(beyond, e.number)
		}
	}
	above := max(o.last.Epoch, l.epoch) // whose IDs may have been given
	for _, epoch := range beyond {
		if above, err = l.moveEarlier(epoch, above, o); err != nil {
			return false, err
		}
	}
	return true, l.moveOwn(above + 1)
}

// elsewhere reports whether a spool that this start cannot read may have an earlier start's
// frames: all of them, if none is among the items.
func (l *Log) elsewhere(epoch uint64, items list) bool {
	there := func(e *item) bool { return e.id.Epoch == epoch }
	return l.unreadable && epoch != l.epoch && !slices.ContainsFunc(items, there)
}

// remaining lists, from the lowest on, the epochs that the stream has gone beyond and
// of which it has not had everything.
func (l *Log) remaining(o overtaken) (epochs []uint64) {
	for _, e := range l.ledger.epochs {
		had, _ := l.done(e.number, o)
		if !l.elsewhere(e.number, l.items) && e.number >= o.settled && e.number < min(o.last.Epoch, l.epoch) && had < e.given {
			epochs = append(epochs, e.number)
		}
	}
	return epochs
}

// dropHad takes out what is not to be sent: what the stream has, and of epochs that are
// moved what Redis has lost, for readers may have had it. The spool removes files only
// up to an ID: one behind a frame that is still to be sent goes with that.
func (l *Log) dropHad(o overtaken, moving bool) {
	var rest list
	for len(l.items) > 0 {
		e := l.items[0]
		_, sent := l.done(e.id.Epoch, o)
		if e.id.Epoch == l.epoch || !moving && o.last.Less(e.id) || e.id.Epoch >= o.settled && e.id.Seq > sent {
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

// moveEarlier moves what remains of an epoch into one above another, or two: what Redis
// lost, and what it never had. It returns the last.
func (l *Log) moveEarlier(from, above uint64, o overtaken) (uint64, error) {
	i, known := l.ledger.find(from)
	if !known {
		return above, nil
	}
	had, sent := l.done(from, o)
	given := l.ledger.epochs[i].given
	if given <= had {
		return above, nil
	}
	if lost := min(sent, given); had < lost {
		above++
		first, last := frame.ID{Epoch: from, Seq: had + 1}, frame.ID{Epoch: from, Seq: lost}
		l.appendLost(nil, first, last) // notes the reasons
		l.moveEpoch(span{first, last}, above)
	}
	above++
	l.moveFiles(from, sent, above) // those up to sent, should a power cut bring them back, are not sent again
	if sent < given {
		first, last := frame.ID{Epoch: from, Seq: sent + 1}, frame.ID{Epoch: from, Seq: given}
		l.moveEpoch(span{first, last}, above)
		for _, e := range l.items {
			if e.id.Epoch != from {
				continue
			}
			e.first = frame.Later(e.first, first)
			if err := l.moveItem(e, sent, above); err != nil {
				return 0, err
			}
		}
	}
	i, _ = l.ledger.find(from) // which another one may have moved
	l.ledger.epochs[i].given = had
	return above, nil
}

// moveEpoch notes that IDs are those of another epoch.
func (l *Log) moveEpoch(s span, to uint64) {
	closed := true // else more of its frames may be unknown, or of those that it goes past
	for _, e := range l.ledger.epochs {
		closed = closed && (e.closed || e.number < s.first.Epoch || e.number >= l.epoch)
	}
	l.ledger.give(frame.ID{Epoch: to, Seq: s.last.Seq - s.first.Seq + 1})
	l.ledger.open(to).closed = closed
	l.ledger.moveLosses(s, to)
	if l.renumbered != nil {
		l.renumbered(s, to)
	}
}

// moveFiles notes which files have the frames of an epoch above done, which are those of
// another one now.
func (l *Log) moveFiles(from, done, to uint64) {
	before := false
	for _, m := range slices.Clone(l.ledger.moves) {
		if m.epoch == from {
			l.ledger.moved(move{file: m.file, minus: m.minus + done, epoch: to})
		}
		before = before || m.file == from
	}
	if !before { // else the files named so are of other frames
		l.ledger.moved(move{file: from, minus: done, epoch: to})
	}
}

// moveOwn moves this start's frames into an epoch that the stream accepts.
func (l *Log) moveOwn(to uint64) error {
	for _, e := range l.items {
		if e.id.Epoch != l.epoch || e.isStarted {
			continue
		}
		if err := l.moveItem(e, 0, to); err != nil {
			return err
		}
	}
	given := l.next - 1
	l.ledger.moved(move{file: l.epoch, epoch: to})
	own := span{frame.ID{Epoch: l.epoch, Seq: 1}, frame.ID{Epoch: l.epoch, Seq: given}}
	l.ledger.moveLosses(own, to)
	if l.renumbered != nil {
		l.renumbered(own, to)
	}
	l.changeEpoch(to)
	if !l.stats.Newest.IsZero() {
		l.stats.Newest.Epoch = to
	}
	return nil
}

// moveItem gives an item another ID. What is on disk keeps its file.
func (l *Log) moveItem(e *item, minus, to uint64) error {
	e.id = frame.ID{Epoch: to, Seq: e.id.Seq - minus}
	e.first = frame.ID{Epoch: to, Seq: e.first.Seq - minus}
	for _, id := range []*frame.ID{&e.dropped, &e.declaredTo} {
		if !id.IsZero() {
			*id = frame.ID{Epoch: to, Seq: id.Seq - min(minus, id.Seq)}
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
