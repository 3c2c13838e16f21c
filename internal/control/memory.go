package control

import (
	"container/list"
	"crypto/sha256"
)

const (
	maxKnown     = 1000    // commands that are remembered
	maxKnownSize = 4 << 20 // bytes of their answers
	maxOut       = 1000    // answers that wait for a link
	maxOutSize   = 4 << 20
)

// entry is a command and its answer.
type entry struct {
	id      string
	sum     [sha256.Size]byte // of the command: another one under the same id is a mistake
	channel string            // where the answer belongs
	reply   []byte            // nil: it is being carried out
	queued  bool              // the answer waits to be published
}

// memory knows the last commands by their ids. Its owner locks.
type memory struct {
	known map[string]*list.Element // of *entry
	order *list.List               // of *entry, the oldest answer first; those without one are not in it
	size  int
}

func newMemory() memory { return memory{known: map[string]*list.Element{}, order: list.New()} }

func (m *memory) find(id string) *entry {
	if e, ok := m.known[id]; ok && id != "" {
		return e.Value.(*entry)
	}
	return nil
}

// add remembers a command that is being carried out: those are not forgotten.
func (m *memory) add(e *entry) {
	if e.id != "" {
		m.known[e.id] = &list.Element{Value: e}
	}
}

// answered remembers the answer, and forgets the oldest ones beyond the bounds.
func (m *memory) answered(e *entry) {
	if e.id == "" {
		return
	}
	m.known[e.id] = m.order.PushBack(e)
	m.size += len(e.reply)
	for m.order.Len() > maxKnown || m.size > maxKnownSize && m.order.Len() > 1 {
		old := m.order.Remove(m.order.Front()).(*entry)
		delete(m.known, old.id)
		m.size -= len(old.reply)
	}
}

// outgoing are the answers that wait for a link, oldest first. Its owner locks.
type outgoing struct {
	all  []*entry
	size int
	lost uint64 // given up because too many waited
}

func (o *outgoing) push(e *entry) {
	if e.queued {
		return
	}
	e.queued = true
	o.all = append(o.all, e)
	o.size += len(e.reply)
	for len(o.all) > maxOut || o.size > maxOutSize && len(o.all) > 1 {
		o.remove(o.all[0])
		o.lost++
	}
}

func (o *outgoing) first() *entry {
	if len(o.all) == 0 {
		return nil
	}
	return o.all[0]
}

// remove takes the first answer out, if it is still e.
func (o *outgoing) remove(e *entry) {
	if o.first() != e {
		return
	}
	e.queued = false
	o.all[0] = nil
	o.all = o.all[1:]
	o.size -= len(e.reply)
}
