package outbox

import (
	"context"
	"errors"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/spool"
)

// This file is the outbox as the session's worker sees it: what is to be sent
// next, and what Redis is known to have.

// batch takes up to n items or size bytes from the head of what is unsent,
// without removing them.
func (o *Log) batch(n int, size int64) (items []*Item) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := 0; i < o.unsent.len() && len(items) < n; i++ {
		e := o.unsent.at(i)
		if !e.ready() || (len(items) > 0 && size < e.size) || (o.always && !o.diskFails && !e.onDisk() && !e.past && e.loss == nil) {
			break
		}
		size -= e.size
		items = append(items, e)
		o.inflight = e.id
	}
	return items
}

// message is what an item of a batch sends: its message, read back from disk
// if need be, or the loss it declares. A file that cannot be read becomes one.
func (o *Log) message(e *Item) (*frame.Message, *LostRange) {
	if m := e.Message(); m != nil {
		return m, nil
	}
	o.mu.Lock()
	loss, disk, file := e.loss, o.disk, e.file
	if loss != nil {
		loss.declared = loss.Last
	}
	o.mu.Unlock()
	if loss != nil || disk == nil {
		return nil, loss
	}
	m, err := disk.get(file)
	if err == nil {
		m, err = withID(m, e.id)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil {
		if e.loss != nil { // the spool gave it up right after
			e.loss = nil
			o.stats.Dropped--
		}
		o.unsent.hold(e, m) // until Redis has it, and then for as long as it fits
		return m, nil
	}
	if e.loss != nil { // the spool has told so meanwhile
		e.loss.declared = e.id
		return nil, e.loss
	}
	reason := reasonUnreadable
	if errors.Is(err, spool.ErrGone) { // given up to make room; the reason is on its way
		reason = reasonGone
	}
	o.log.Error().Stringer("id", e.id).Err(err).Msg("a frame on disk is unreadable")
	o.stats.Dropped++
	o.countLoss(reason, 1)
	e.file, e.loss = frame.ID{}, &LostRange{First: e.id, Last: e.id, Reason: reason, givenUp: e.id, declared: e.id}
	return nil, e.loss
}

// delivered notes that Redis has everything up to id.
func (o *Log) delivered(id frame.ID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inflight = frame.ID{}
	o.forget(id)
	if o.stats.Durable.Less(id) {
		o.stats.Durable = id
	}
	o.bound()
}

// untaken notes that nothing of a batch is under way any more, for nobody took
// it: its frames are as old as any, and make room for newer ones.
func (o *Log) untaken() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inflight = frame.ID{}
	o.bound()
}

// forget moves what Redis has out of the unsent.
func (o *Log) forget(id frame.ID) {
	for o.unsent.len() > 0 && !id.Less(o.unsent.at(0).id) {
		e := o.unsent.pop()
		if e.loss == nil {
			o.stats.Sent++
		} else {
			o.arrived(e.loss, id)
		}
		if e.onDisk() {
			o.remove = e.file
			poke(o.store)
		}
		if e.ram > 0 || e.loss != nil {
			o.sent.push(e) // without holes, so that it can all be added again
		} else {
			o.sent = queue{}
		}
	}
	if o.unsent.len() > 0 {
		e := o.unsent.at(0)
		if l := e.loss; l != nil && l.First.Epoch == id.Epoch && !id.Less(l.First) {
			o.arrived(l, id)
			rest := *l
			rest.First = id.Next()
			e.loss = &rest
		}
	}
	close(o.drained)
	o.drained = make(chan struct{})
}

// arrived looks at a loss that Redis has up to id: as a declaration, or as the
// frames themselves, given up while their batch was under way.
func (o *Log) arrived(l *LostRange, id frame.ID) {
	if !l.declared.IsZero() && !id.Less(l.declared) {
		o.log.Warn().Stringer("first", l.First).Stringer("last", l.declared).Msg("lost frames were declared in the stream")
	}
	if l.givenUp.IsZero() {
		return
	}
	first, last := frame.Later(frame.Later(l.First, l.givenUp), l.declared.Next()), l.Last
	if id.Less(last) {
		last = id
	}
	if !last.Less(first) && last.Epoch == first.Epoch {
		n := last.Seq - first.Seq + 1
		o.stats.Sent += n
		o.stats.Dropped -= n
	}
}

// resume prepares for a stream whose last entry of ours is last (zero: none):
// what Redis lost is unsent again, what it lost and we no longer hold is
// declared. It returns how many frames are sent again.
func (o *Log) resume(last frame.ID) (again int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inflight = frame.ID{}
	for o.sent.len() > 0 && last.Less(o.sent.at(o.sent.len()-1).id) {
		e := o.sent.popLast()
		e.again, e.past = true, false
		if o.unsent.unpop(e); e.loss == nil {
			again++
		}
	}
	o.stats.Sent -= uint64(again)   //nolint:gosec // not negative
	o.stats.Resent += uint64(again) //nolint:gosec // not negative
	o.written = frame.ID{}
	o.forget(last)
	o.stats.Durable = last
	o.fillHole(last)
	return again
}

// fillHole declares what is missing between the stream's end and the first
// item held.
func (o *Log) fillHole(last frame.ID) {
	head := frame.ID{Epoch: o.epoch, Seq: o.next}
	if o.unsent.len() > 0 {
		head = o.unsent.at(0).first()
	}
	first := last.Next()
	if last.Epoch != head.Epoch {
		if head.Epoch != o.epoch {
			return // frames of an earlier start: what it lost it could not tell
		}
		first = frame.ID{Epoch: o.epoch, Seq: 1}
	}
	if !first.Less(head) {
		return
	}
	o.countLoss(reasonForgotten, head.Seq-first.Seq)
	o.unsent.unpop(&Item{
		id:   frame.ID{Epoch: head.Epoch, Seq: head.Seq - 1},
		loss: &LostRange{First: first, Last: frame.ID{Epoch: head.Epoch, Seq: head.Seq - 1}, Reason: reasonForgotten},
	})
}

// block notes that nobody drains or Redis refuses: frames go to disk.
func (o *Log) block(is bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if was := o.blocked.Swap(is); is {
		o.inflight = frame.ID{}
		if !was { // what memory alone was to hold for a moment
			o.offerAgain()
		}
		poke(o.store)
	}
}

// begun says that Redis has been given something: the epoch is settled.
func (o *Log) begun() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stats.Sent > 0 || o.sent.len() > 0 || o.stats.Durable.Epoch == o.epoch
}

// Stats is what the outbox holds and has done.
func (o *Log) Stats() Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.stats
	s.Unsent, s.UnsentSize = o.unsent.len(), o.unsent.bytes
	s.MemorySize = o.unsent.bytes + o.sent.bytes
	switch {
	case o.sent.len() > 0:
		s.Oldest = o.sent.at(0).id
	case o.unsent.len() > 0:
		s.Oldest = o.unsent.at(0).first()
	}
	return s
}

// Room is how many bytes of items may be added before memory is full. An outbox
// that waits for nothing takes one item, however large.
func (o *Log) Room() (bytes int64, empty bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.limit - o.unsent.bytes, o.unsent.bytes == 0
}

// Epoch is the epoch IDs are given from.
func (o *Log) Epoch() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.epoch
}

// Flush waits until Redis has everything, or ctx ends.
func (o *Log) Flush(ctx context.Context) error {
	for {
		o.mu.Lock()
		done, drained := o.unsent.len() == 0, o.drained
		o.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-drained:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
