package datatransfer

import (
	"sync/atomic"

	"framekeeper/pkg/frame"
)

// Item is one message on its way to Redis: to the channel, to the stream, or
// to both. Any goroutine may hold it.
type Item struct {
	id  frame.ID // guarded by the Outbox that gave it
	msg atomic.Pointer[frame.Message]

	// payload replaces the message's own wire form on the channel (legacy wire).
	payload []byte
	// gated items are answers: they enter the stream after they were published.
	gated     bool
	published atomic.Bool
	// queued items wait in a Publisher's lane or are on their way.
	queued atomic.Bool
}

// Message is the item's message. It changes only if the epoch has to be raised
// before the first session.
func (i *Item) Message() *frame.Message { return i.msg.Load() }

func (i *Item) size() int64 { return int64(i.Message().Size() + len(i.payload)) }

func (i *Item) wire() []byte {
	if i.payload != nil {
		return i.payload
	}
	return i.Message().Wire()
}

// ready reports whether the item may enter the stream.
func (i *Item) ready() bool { return !i.gated || i.published.Load() }

// queue is a double-ended queue of items that knows its bytes. It is a ring, so
// that neither end costs a move or keeps dead items reachable.
type queue struct {
	ring  []*Item
	head  int
	count int
	bytes int64
}

func (q *queue) len() int { return q.count }

func (q *queue) index(i int) int { return (q.head + i) % len(q.ring) }

// at is the i-th item from the head; i must be below len.
func (q *queue) at(i int) *Item { return q.ring[q.index(i)] }

func (q *queue) grow() {
	if q.count < len(q.ring) {
		return
	}
	ring := make([]*Item, max(16, 2*len(q.ring)))
	for i := range q.count {
		ring[i] = q.at(i)
	}
	q.ring, q.head = ring, 0
}

// push adds at the tail.
func (q *queue) push(e *Item) {
	q.grow()
	q.ring[q.index(q.count)] = e
	q.count++
	q.bytes += e.size()
}

// unpop adds at the head.
func (q *queue) unpop(e *Item) {
	q.grow()
	q.head = (q.head + len(q.ring) - 1) % len(q.ring)
	q.ring[q.head] = e
	q.count++
	q.bytes += e.size()
}

// pop takes from the head; the queue must not be empty.
func (q *queue) pop() *Item {
	e := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = q.index(1)
	q.count--
	q.bytes -= e.size()
	return e
}

// popLast takes from the tail; the queue must not be empty.
func (q *queue) popLast() *Item {
	i := q.index(q.count - 1)
	e := q.ring[i]
	q.ring[i] = nil
	q.count--
	q.bytes -= e.size()
	return e
}

// recount is for after the items' messages were replaced.
func (q *queue) recount() {
	q.bytes = 0
	for i := range q.count {
		q.bytes += q.at(i).size()
	}
}

// NewItem makes an item that no stream will hold, such as an error reply.
// payload, if not nil, is published instead of the message's wire form.
func NewItem(m *frame.Message, payload []byte) *Item {
	item := &Item{id: m.Header.ID, payload: payload}
	item.msg.Store(m)
	return item
}
