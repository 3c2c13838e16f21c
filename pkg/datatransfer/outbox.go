package datatransfer

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
)

// Outbox gives frames their IDs and holds them: unsent ones until Redis has
// them, sent ones for as long as they fit, so that a Redis that lost its data
// gets them again. What does not fit is declared in the stream.
//
// Any goroutine may add; one at a time, the session's Appender, drains.
type Outbox struct {
	log   zerolog.Logger
	limit int64 // bytes of sent and unsent items together

	mu       sync.Mutex // guards all below
	epoch    uint64
	next     uint64     // the next sequence number
	started  *Item      // "<epoch>-0", kept for re-seeding
	sent     queue      // in Redis, oldest first
	unsent   queue      // not in Redis, oldest first
	declared frame.ID   // the last one of the loss that the batch being sent declares
	lost     *LostRange // not in Redis, no longer held, to be declared next
	stats    OutboxStats
	wake     chan struct{} // capacity 1: there may be something to send
	drained  chan struct{} // closed and replaced whenever unsent shrinks
}

// OutboxStats is what the outbox holds and has done; counts are frames.
type OutboxStats struct {
	Newest     frame.ID `json:"newest"`  // last ID given
	Oldest     frame.ID `json:"oldest"`  // oldest still held
	Durable    frame.ID `json:"durable"` // last ID known to be in Redis
	Added      uint64   `json:"added"`
	Sent       uint64   `json:"sent"`    // confirmed by Redis, each once
	Resent     uint64   `json:"resent"`  // put back because Redis had lost them
	Dropped    uint64   `json:"dropped"` // given up before Redis had them, and declared
	Unsent     int      `json:"unsent"`
	UnsentSize int64    `json:"unsent_bytes"`
	HeldSize   int64    `json:"held_bytes"` // unsent and retained together
}

// LostRange is a run of lost IDs of one epoch.
type LostRange struct {
	First, Last frame.ID
	Reason      string

	givenUp frame.ID // the first of them that was never sent; zero if all were
}

// NewOutbox makes an outbox that holds at most limit bytes.
func NewOutbox(epoch uint64, limit int64, log zerolog.Logger) *Outbox {
	return &Outbox{
		log: log, limit: limit, epoch: epoch, next: 1,
		wake: make(chan struct{}, 1), drained: make(chan struct{}),
	}
}

// Build makes the message that bears id.
type Build func(id frame.ID) (*frame.Message, error)

// Options of an item.
type Options struct {
	Stream  bool   // it goes into the stream
	Answer  bool   // it is published first, and enters the stream afterwards
	Payload []byte // published instead of the message's wire form
}

// Add builds a message with the next ID and, if it is for the stream, holds it
// until Redis has it.
func (o *Outbox) Add(opt Options, build Build) (*Item, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	id := frame.ID{Epoch: o.epoch, Seq: o.next}
	msg, err := build(id)
	if err != nil {
		return nil, fmt.Errorf("build message %s: %w", id, err)
	}
	item := &Item{id: id, gated: opt.Answer, payload: opt.Payload}
	item.msg.Store(msg)
	o.next++
	o.stats.Added++
	o.stats.Newest = id
	if opt.Stream {
		o.unsent.push(item)
		o.bound()
		o.signal()
	}
	return item, nil
}

// Start sets the epoch's first entry, "<epoch>-0".
func (o *Outbox) Start(build Build) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	id := frame.ID{Epoch: o.epoch}
	msg, err := build(id)
	if err != nil {
		return fmt.Errorf("build message %s: %w", id, err)
	}
	o.started = &Item{id: id}
	o.started.msg.Store(msg)
	return nil
}

// Published opens the stream for an answer. It is called once the answer was
// published, or cannot be.
func (o *Outbox) Published(item *Item) {
	item.published.Store(true)
	o.signal()
}

func (o *Outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

var errRenumber = errors.New("frames of this epoch were already sent")

// raise moves everything held into a higher epoch. Allowed only before anything
// was sent.
func (o *Outbox) raise(epoch uint64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stats.Sent > 0 || o.sent.len() > 0 {
		return errRenumber
	}
	items := []*Item{}
	if o.started != nil {
		items = append(items, o.started)
	}
	for i := range o.unsent.len() {
		items = append(items, o.unsent.at(i))
	}
	for _, item := range items {
		h := item.Message().Header
		h.ID.Epoch = epoch
		m, err := frame.NewMessage(h, item.Message().Image())
		if err != nil {
			return fmt.Errorf("renumber message: %w", err)
		}
		item.id = h.ID
		item.msg.Store(m)
	}
	o.unsent.recount()
	if o.lost != nil {
		o.lost.First.Epoch, o.lost.Last.Epoch = epoch, epoch
	}
	o.epoch = epoch
	if !o.stats.Newest.IsZero() {
		o.stats.Newest.Epoch = epoch
	}
	return nil
}

// Stats is what the outbox holds and has done.
func (o *Outbox) Stats() OutboxStats {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.stats
	s.Unsent, s.UnsentSize = o.unsent.len(), o.unsent.bytes
	s.HeldSize = o.unsent.bytes + o.sent.bytes
	switch {
	case o.sent.len() > 0:
		s.Oldest = o.sent.at(0).id
	case o.unsent.len() > 0:
		s.Oldest = o.unsent.at(0).id
	}
	return s
}

// Epoch is the epoch IDs are given from.
func (o *Outbox) Epoch() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.epoch
}

// pending reports whether anything waits for Redis, and a channel that is
// closed when that changes.
func (o *Outbox) pending() (bool, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.unsent.len() > 0 || o.lost != nil, o.drained
}

// Flush waits until Redis has everything, or ctx ends.
func (o *Outbox) Flush(ctx context.Context) error {
	for {
		waiting, changed := o.pending()
		if !waiting {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
