package datatransfer

import (
	"errors"
	"fmt"

	"framekeeper/pkg/frame"
)

var errRenumber = errors.New("frames of this epoch were already sent")

// raise gives everything held new IDs above last, the end of a stream that is
// ahead of us: our saved epoch was lost and the clock is behind. Frames of
// earlier starts that are not in that stream for certain keep their order, in
// epochs of their own. Allowed only before anything was sent.
func (o *Outbox) raise(last frame.ID) (epoch uint64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stats.Sent > 0 || o.sent.len() > 0 {
		return 0, errRenumber
	}
	for o.unsent.len() > 0 && o.unsent.at(0).id.Epoch == last.Epoch && o.unsent.at(0).id.Epoch != o.epoch && !last.Less(o.unsent.at(0).id) {
		o.forget(o.unsent.at(0).id)
	}
	own, now, seq := uint64(0), last.Epoch, uint64(0)
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
func (o *Outbox) renumber(q *queue, e *Item, id frame.ID) error {
	if e.loss != nil {
		n := e.loss.Last.Seq - e.loss.First.Seq
		e.loss = &LostRange{First: frame.ID{Epoch: id.Epoch, Seq: id.Seq - n}, Last: id, Reason: e.loss.Reason}
	}
	if m := e.Message(); m != nil {
		h := m.Header
		h.ID = id
		m, err := frame.NewMessage(h, m.Image())
		if err != nil {
			return fmt.Errorf("renumber message: %w", err)
		}
		q.hold(e, m)
	}
	e.id = id
	return nil
}
