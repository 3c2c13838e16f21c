package outbox

import (
	"errors"
	"fmt"

	"framekeeper/pkg/frame"
)

var errRenumber = errors.New("frames of this epoch were already sent")

// overtaken lists, from the lowest on, the epochs of earlier starts' frames that
// the stream has gone beyond: it ends in a later epoch, and takes nothing under
// their IDs any more. That comes of a start that could not read the spool.
func (o *Log) overtaken(last frame.ID) (epochs []uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.unsent.len() {
		epoch := o.unsent.at(i).id.Epoch
		if epoch >= last.Epoch || epoch == o.epoch {
			break
		}
		if len(epochs) == 0 || epochs[len(epochs)-1] != epoch {
			epochs = append(epochs, epoch)
		}
	}
	return epochs
}

// raise gives everything held new IDs above last, the end of a stream that is
// ahead of us (our saved epoch was lost and the clock is behind) or of frames of
// earlier starts. Such frames that are not in that stream for certain keep their
// order, in epochs of their own; had says up to where it has their epochs.
// Allowed only before anything was sent.
func (o *Log) raise(last frame.ID, had map[uint64]frame.ID) (epoch uint64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stats.Sent > 0 || o.sent.len() > 0 {
		return 0, errRenumber
	}
	for o.unsent.len() > 0 {
		e, end := o.unsent.at(0), last
		if e.id.Epoch != last.Epoch {
			end = had[e.id.Epoch]
		}
		if e.id.Epoch == o.epoch || end.Less(e.id) {
			break
		}
		o.forget(e.id)
	}
	above := last.Epoch
	if above < o.epoch {
		if o.unsent.len() == 0 || o.unsent.at(0).id.Epoch >= last.Epoch {
			return o.epoch, nil // the stream had what it has gone beyond
		}
		above = o.epoch // the loops below go by ours
	}
	own, now, seq := uint64(0), above, uint64(0)
	for i := range o.unsent.len() {
		e := o.unsent.at(i)
		if e.id.Epoch == o.epoch {
			break
		}
		if e.id.Epoch != own {
			own, now, seq = e.id.Epoch, now+1, 0
		}
		seq += e.id.Seq - e.first().Seq + 1
		if err := o.renumber(&o.unsent, e, frame.ID{Epoch: now, Seq: seq}); err != nil {
			return 0, err
		}
	}
	epoch = now + 1
	for i := range o.unsent.len() {
		if e := o.unsent.at(i); e.id.Epoch == o.epoch {
			if err := o.renumber(&o.unsent, e, frame.ID{Epoch: epoch, Seq: e.id.Seq}); err != nil {
				return 0, err
			}
		}
	}
	if o.started != nil {
		if err := o.renumber(&queue{}, o.started, frame.ID{Epoch: epoch}); err != nil {
			return 0, err
		}
	}
	if o.epoch = epoch; !o.stats.Newest.IsZero() {
		o.stats.Newest.Epoch = epoch
	}
	return epoch, nil
}

// renumber gives an item of q another ID. What is on disk keeps its file.
func (o *Log) renumber(q *queue, e *Item, id frame.ID) error {
	if e.loss != nil {
		n := e.loss.Last.Seq - e.loss.First.Seq
		e.loss = &LostRange{First: frame.ID{Epoch: id.Epoch, Seq: id.Seq - n}, Last: id, Reason: e.loss.Reason}
	}
	if m := e.Message(); m != nil {
		m, err := withID(m, id)
		if err != nil {
			return err
		}
		q.hold(e, m)
	}
	e.id = id
	return nil
}

// withID is the message under the ID that its frame has now: it may have been
// renumbered since the message was written.
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
