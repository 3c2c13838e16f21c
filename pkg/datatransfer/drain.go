package datatransfer

import "framekeeper/pkg/frame"

// bound keeps the items below the limit: retained ones go first, then the
// oldest unsent ones, which is a loss and will be declared.
func (o *Outbox) bound() {
	for o.sent.bytes+o.unsent.bytes > o.limit && o.sent.len() > 0 {
		o.sent.pop()
	}
	for o.unsent.bytes > o.limit && o.unsent.len() > 1 {
		id := o.unsent.pop().id
		o.stats.Dropped++
		if o.lost == nil {
			o.log.Warn().Stringer("first", id).Int64("retain_bytes", o.limit).
				Msg("frames are being lost: more wait for Redis than retain_bytes holds")
			o.lost = &LostRange{First: id, Reason: "the agent's memory was full while Redis took no frames"}
		}
		o.lost.Last = id
		if o.lost.givenUp.IsZero() {
			o.lost.givenUp = id
		}
	}
}

// reached notes that the stream has everything up to id. What was given up
// while its batch was under way arrived after all.
func (o *Outbox) reached(id frame.ID) {
	if l := o.lost; l != nil {
		declared := o.declared
		if id.Less(declared) {
			declared = frame.ID{} // it is not there
		} else if !declared.Less(l.First) {
			o.log.Warn().Stringer("first", l.First).Stringer("last", declared).Msg("lost frames were declared in the stream")
		}
		if first := later(later(l.First, l.givenUp), declared.Next()); !l.givenUp.IsZero() {
			end := l.Last
			if id.Less(end) {
				end = id
			}
			if !end.Less(first) {
				n := end.Seq - first.Seq + 1
				o.stats.Dropped -= n
				o.stats.Sent += n
			}
		}
		if l.First = later(l.First, id.Next()); l.Last.Less(l.First) {
			o.lost = nil
		}
	}
	for o.unsent.len() > 0 && !id.Less(o.unsent.at(0).id) {
		o.sent.push(o.unsent.pop())
		o.stats.Sent++
	}
	close(o.drained)
	o.drained = make(chan struct{})
}

func later(a, b frame.ID) frame.ID {
	if a.Less(b) {
		return b
	}
	return a
}

// batch takes up to n items or size bytes from what is unsent, without removing
// them, and the loss that is to be declared before them, if any.
func (o *Outbox) batch(n int, size int64) (lost *LostRange, items []*Item) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.declared = frame.ID{}
	if o.lost != nil {
		l := *o.lost
		lost, o.declared = &l, l.Last
	}
	for i := 0; i < o.unsent.len() && len(items) < n; i++ {
		e := o.unsent.at(i)
		if !e.ready() || (len(items) > 0 && size < e.size()) {
			break
		}
		size -= e.size()
		items = append(items, e)
	}
	return lost, items
}

// delivered notes that Redis has everything up to id.
func (o *Outbox) delivered(id frame.ID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reached(id)
	if o.stats.Durable.Less(id) {
		o.stats.Durable = id
	}
	o.bound()
}

// resume prepares for a stream whose last entry of our epoch is last: what
// Redis has after all, because only its reply was lost, is sent; what it lost
// is unsent again; what it lost and we no longer hold is declared.
func (o *Outbox) resume(last frame.ID) (again int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reached(last)
	for o.sent.len() > 0 && last.Less(o.sent.at(o.sent.len()-1).id) {
		o.unsent.unpop(o.sent.popLast())
		again++
	}
	o.stats.Sent -= uint64(again)
	o.stats.Resent += uint64(again)
	o.stats.Durable = last
	o.declared = frame.ID{}

	head := frame.ID{Epoch: o.epoch, Seq: o.next}
	if o.unsent.len() > 0 {
		head = o.unsent.at(0).id
	}
	switch first := last.Next(); {
	case !first.Less(head):
		o.lost = nil
	case o.lost == nil:
		o.lost = &LostRange{First: first, Last: frame.ID{Epoch: head.Epoch, Seq: head.Seq - 1}, Reason: "Redis lost them and the agent no longer held them"}
	default:
		o.lost.First = first
	}
	return again
}
