package outbox

import (
	"sync/atomic"

	"framekeeper/pkg/frame"
)

// Item is one entry of the log: a frame on its way to the channel, to the stream
// or to both, or the declaration of lost frames. Any goroutine may have it, and
// uses its methods.
type Item struct {
	msg     atomic.Pointer[frame.Message] // nil: on disk only, or a declaration
	payload []byte                        // published instead of msg's wire form, if not nil (the old system's wire)
	length  int64                         // of what is published

	answer    bool         // it enters the stream after it was published
	published atomic.Bool  // or cannot be
	queued    atomic.Bool  // it waits in a Publisher's lane
	pins      atomic.Int32 // users that need the message in memory

	// The Log's mutex guards all below.

	id          frame.ID     // of a declaration: the last ID that it declares
	lost        *declaration // nil: a frame
	file        frame.ID     // the ID under which the spool has it; zero: it does not
	redisLost   bool         // it was in Redis, which lost it
	diskRefused bool         // the spool was offered it and does not have it: nothing waits for the disk
	size        int64        // of the message, in memory or not
	memory      int64        // bytes it takes in memory
}

// NewItem makes an item that no stream will have, such as an error reply. payload,
// if not nil, is published instead of the message's wire form.
func NewItem(m *frame.Message, payload []byte) *Item {
	item := &Item{id: m.Header.ID, payload: payload, length: int64(m.Size() + len(payload))}
	item.setMessage(m)
	return item
}

// Message is the item's message; nil if it is not in memory. It changes only when
// frames are renumbered before the first session.
func (i *Item) Message() *frame.Message { return i.msg.Load() }

// Size is the size of what is published, in bytes.
func (i *Item) Size() int64 { return i.length }

// Pin keeps the item's message in memory until as many calls of Unpin.
func (i *Item) Pin() { i.pins.Add(1) }

// Unpin takes one Pin back.
func (i *Item) Unpin() { i.pins.Add(-1) }

func (i *Item) pinned() bool { return i.pins.Load() > 0 }

// enqueue marks the item as waiting in a lane; false if it waits already.
func (i *Item) enqueue() bool { return i.queued.CompareAndSwap(false, true) }

func (i *Item) dequeue() { i.queued.Store(false) }

// wire is what is published; the item must be pinned.
func (i *Item) wire() []byte {
	if i.payload != nil {
		return i.payload
	}
	return i.Message().Wire()
}

// sendable reports whether the item may enter the stream.
func (i *Item) sendable() bool { return !i.answer || i.published.Load() }

func (i *Item) onDisk() bool { return !i.file.IsZero() }

// spoolable reports whether the item is for the disk and not there yet.
func (i *Item) spoolable() bool { return !i.onDisk() && !i.diskRefused && i.lost == nil }

// first is the lowest ID that the item accounts for.
func (i *Item) first() frame.ID {
	if i.lost != nil {
		return i.lost.first
	}
	return i.id
}

// setMessage puts a message into memory, or evicts it (nil).
func (i *Item) setMessage(m *frame.Message) {
	i.msg.Store(m)
	i.memory = 0
	if m != nil {
		i.size = int64(m.Size())
		i.memory = i.size + int64(len(i.payload))
	}
}
