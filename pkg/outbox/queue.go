package outbox

import (
	"sync/atomic"

	"framekeeper/pkg/frame"
)

// Item is one entry of the agent's log: a frame on its way to the channel, to
// the stream or to both, or the declaration of lost frames. Any goroutine may
// hold it; the fields below pins belong to the Log.
type Item struct {
	msg atomic.Pointer[frame.Message] // nil: on disk only, or a loss
	// payload replaces the message's own wire form on the channel (legacy wire).
	payload []byte
	// gated items are answers: they enter the stream after they were published.
	gated     bool
	published atomic.Bool
	queued    atomic.Bool  // a publisher has it waiting already
	pins      atomic.Int32 // who still needs the message in memory
	cost      int64        // what publishers count it as

	id   frame.ID   // of a loss: its last ID
	loss *LostRange // the frames that this entry declares lost
	file frame.ID   // the spool has it under this ID; zero: it has not

	again bool  // Redis had it, and lost it
	past  bool  // the spool had its chance and does not keep it: nothing waits for that
	size  int64 // of the message, in memory or not
	ram   int64 // bytes it holds in memory
}

func (i *Item) onDisk() bool { return !i.file.IsZero() }

// first is the lowest ID the item accounts for.
func (i *Item) first() frame.ID {
	if i.loss != nil {
		return i.loss.First
	}
	return i.id
}

// LostRange is a run of lost IDs of one epoch.
type LostRange struct {
	First, Last frame.ID
	Reason      string

	givenUp  frame.ID // the first of them that Redis never had; zero if it had all
	declared frame.ID // the last one that an entry on its way declares
}

// NewItem makes an item that no stream will hold, such as an error reply.
// payload, if not nil, is published instead of the message's wire form.
func NewItem(m *frame.Message, payload []byte) *Item {
	item := &Item{id: m.Header.ID, payload: payload, cost: int64(m.Size() + len(payload))}
	item.hold(m)
	return item
}

// Message is the item's message. It changes only if the epoch has to be raised
// before the first session.
func (i *Item) Message() *frame.Message { return i.msg.Load() }

// hold puts a message into memory, or takes it out.
func (i *Item) hold(m *frame.Message) {
	i.msg.Store(m)
	i.ram = 0
	if m != nil {
		i.size = int64(m.Size())
		i.ram = i.size + int64(len(i.payload))
	}
}

// Pin keeps the item's message in memory until as many calls of Unpin.
func (i *Item) Pin() { i.pins.Add(1) }

// Unpin takes one Pin back.
func (i *Item) Unpin() { i.pins.Add(-1) }

// Size is the size of what is published, in bytes.
func (i *Item) Size() int64 { return i.cost }

// wire is what is published; the item must be pinned.
func (i *Item) wire() []byte {
	if i.payload != nil {
		return i.payload
	}
	return i.Message().Wire()
}

// ready reports whether the item may enter the stream.
func (i *Item) ready() bool { return !i.gated || i.published.Load() }

// queue is a ring of items in the order of their IDs that knows how many bytes
// it holds in memory.
type queue struct {
	ring[*Item]
	bytes int64
}

func (q *queue) push(e *Item)   { q.ring.push(e); q.bytes += e.ram }
func (q *queue) unpop(e *Item)  { q.ring.unpop(e); q.bytes += e.ram }
func (q *queue) pop() *Item     { e := q.ring.pop(); q.bytes -= e.ram; return e }
func (q *queue) popLast() *Item { e := q.ring.popLast(); q.bytes -= e.ram; return e }

func (q *queue) remove(i int) *Item { e := q.ring.remove(i); q.bytes -= e.ram; return e }

// hold changes what an item of this queue keeps in memory.
func (q *queue) hold(e *Item, m *frame.Message) {
	q.bytes -= e.ram
	e.hold(m)
	q.bytes += e.ram
}

// search is the index of the first item whose ID is not below id.
func (q *queue) search(id frame.ID) int {
	low, high := 0, q.len()
	for low < high {
		if mid := (low + high) / 2; q.at(mid).id.Less(id) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}
