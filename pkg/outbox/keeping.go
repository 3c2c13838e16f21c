package outbox

import "framekeeper/pkg/frame"

// This file is the outbox as the Spooler sees it: what is to go to disk, and what
// is there.

// keeping is an item as it is given to the spool.
type keeping struct {
	item    *Item
	id      frame.ID
	msg     *frame.Message
	refused bool // the spool is full of newer ones
}

// unkept lists unsent items that are not on disk and should be: all of them
// while Redis takes nothing, the ones that crowd the memory otherwise.
func (o *Log) unkept(n int, all bool) (items []keeping) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.noDisk && !all {
		return nil
	}
	if !all && !o.blocked.Load() && !o.stalled.Load() && !o.always && !o.crowded() && !o.draining() {
		return nil
	}
	start := 0
	if !o.written.IsZero() {
		start = o.unsent.search(o.written.Next())
	}
	for i := start; i < o.unsent.len() && len(items) < n; i++ {
		e := o.unsent.at(i)
		if m := e.Message(); m != nil && !e.onDisk() && !e.past && e.loss == nil {
			items = append(items, keeping{item: e, id: e.id, msg: m})
		}
		o.written = e.id
	}
	return items
}

// rewrite makes unkept begin at the head again, after the disk has refused.
// Redis may take frames all the same, so nothing waits for the disk now.
func (o *Log) rewrite() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.written = frame.ID{}
	o.diskFails = true
	poke(o.wake)
}

// ends makes unkept list everything that is not on disk: the process ends.
func (o *Log) ends() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.offerAgain()
}

// offerAgain has the spool offered what it has not, once more: it may have room
// now. The caller holds mu.
func (o *Log) offerAgain() {
	o.written = frame.ID{}
	for i := range o.unsent.len() {
		o.unsent.at(i).past = false
	}
}

// kept notes that items are on disk. What crowds the memory leaves it.
func (o *Log) kept(items []keeping) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.diskFails = false
	for _, k := range items {
		if k.item.loss != nil {
			continue
		}
		if k.refused {
			k.item.past = true
			continue
		}
		k.item.file = k.id
		i := o.unsent.search(k.item.id)
		if i == o.unsent.len() || o.unsent.at(i) != k.item { // Redis has it by now
			if o.remove.Less(k.id) {
				o.remove = k.id
				poke(o.store)
			}
			continue
		}
		crowded := o.sent.bytes+o.unsent.bytes > o.limit*3/4
		if crowded && !k.item.again && o.inflight.Less(k.item.id) && k.item.pins.Load() == 0 && k.item.ready() {
			o.unsent.hold(k.item, nil)
		}
	}
	poke(o.wake)
}

// keepInMemory says that frames are not to go to disk for now.
func (o *Log) keepInMemory(is bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.noDisk = is
}

// Persisted is the last ID that Redis or the disk has, and whether they have all.
func (o *Log) Persisted() (last frame.ID, all bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	last, all = o.stats.Durable, true
	for i := range o.unsent.len() {
		e := o.unsent.at(i)
		if !e.onDisk() && e.loss == nil {
			return last, false
		}
		last = e.id
	}
	return last, all
}
