package outbox

import (
	"errors"
	"fmt"

	"framekeeper/pkg/frame"
)

var errRenumber = errors.New("frames of this epoch were already sent")

// overtaken lists, from the lowest on, the epochs of earlier starts' frames that
// the stream has gone beyond: its last entry is of a later epoch, and it accepts
// nothing under their IDs any more. A start that could not read the spool is the
// cause.
func (l *Log) overtaken(last frame.ID) (epochs []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.unsent.items {
		epoch := e.id.Epoch
		if epoch >= last.Epoch || epoch == l.epoch {
			break
		}
		if len(epochs) == 0 || epochs[len(epochs)-1] != epoch {
			epochs = append(epochs, epoch)
		}
	}
	return epochs
}

// renumber gives all items new IDs above last, the end of a stream that is ahead of
// us (the saved epoch was lost and the clock is behind) or of frames of earlier
// starts. Frames of earlier starts that are not certain to be in that stream keep
// their order, in epochs of their own; had is up to where it has their epochs. It is
// allowed only before anything was sent, and returns the epoch then in use.
func (l *Log) renumber(last frame.ID, had map[uint64]frame.ID) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stats.Sent > 0 || len(l.retained.items) > 0 {
		return 0, errRenumber
	}
	for e := l.unsent.head(); e != nil; e = l.unsent.head() {
		end := last
		if e.id.Epoch != last.Epoch {
			end = had[e.id.Epoch]
		}
		if e.id.Epoch == l.epoch || end.Less(e.id) {
			break
		}
		l.retain(e.id)
	}
	above := last.Epoch
	if above < l.epoch {
		if e := l.unsent.head(); e == nil || e.id.Epoch >= last.Epoch {
			return l.epoch, nil // the stream had what it has gone beyond
		}
		above = l.epoch // whose IDs may have been given
	}
	id, before := frame.ID{Epoch: above}, uint64(0)
	for _, e := range l.unsent.items {
		own := e.id.Epoch == l.epoch
		if e.id.Epoch != before {
			before, id = e.id.Epoch, frame.ID{Epoch: id.Epoch + 1}
		}
		if id.Seq += e.id.Seq - e.first().Seq + 1; own {
			id.Seq = e.id.Seq
		}
		if err := l.unsent.renumber(e, id); err != nil {
			return 0, err
		}
	}
	epoch := id.Epoch
	if before != l.epoch {
		epoch++
	}
	if l.started != nil {
		if err := (&queue{}).renumber(l.started, frame.ID{Epoch: epoch}); err != nil {
			return 0, err
		}
	}
	if l.epoch = epoch; !l.stats.Newest.IsZero() {
		l.stats.Newest.Epoch = epoch
	}
	return epoch, nil
}

// renumber gives an item of q another ID. What is on disk keeps its file.
func (q *queue) renumber(e *Item, id frame.ID) error {
	if d := e.lost; d != nil {
		n := d.last.Seq - d.first.Seq
		e.lost = &declaration{first: frame.ID{Epoch: id.Epoch, Seq: id.Seq - n}, last: id, reason: d.reason}
	}
	if m := e.Message(); m != nil {
		m, err := withID(m, id)
		if err != nil {
			return err
		}
		q.setMessage(e, m)
	}
	e.id = id
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
