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
	inflight frame.ID   // last ID of the batch being sent: not to be dropped
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

// bound keeps the items below the limit: retained ones go first, then the
// oldest unsent ones, which is a loss and will be declared.
func (o *Outbox) bound() {
	for o.sent.bytes+o.unsent.bytes > o.limit && o.sent.len() > 0 {
		o.sent.pop()
	}
	for o.unsent.bytes > o.limit && o.unsent.len() > 1 && o.inflight.Less(o.unsent.at(0).id) {
		id := o.unsent.pop().id
		o.stats.Dropped++
		if o.lost == nil {
			o.log.Warn().Stringer("first", id).Int64("retain_bytes", o.limit).
				Msg("frames are being lost: more wait for Redis than retain_bytes holds")
			o.lost = &LostRange{First: id, Reason: "the agent's memory was full while Redis took no frames"}
		}
		o.lost.Last = id
	}
}

func (o *Outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// batch takes up to n items or size bytes from what is unsent, without removing
// them, and the loss that is to be declared before them, if any.
func (o *Outbox) batch(n int, size int64) (lost *LostRange, items []*Item) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lost != nil {
		l := *o.lost
		lost, o.inflight = &l, l.Last
	}
	for i := 0; i < o.unsent.len() && len(items) < n; i++ {
		e := o.unsent.at(i)
		if !e.ready() || (len(items) > 0 && size < e.size()) {
			break
		}
		size -= e.size()
		items = append(items, e)
		o.inflight = e.id
	}
	return lost, items
}

// delivered notes that Redis has everything up to id.
func (o *Outbox) delivered(id frame.ID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inflight = frame.ID{}
	if o.lost != nil && !id.Less(o.lost.Last) {
		o.log.Warn().Stringer("first", o.lost.First).Stringer("last", o.lost.Last).Msg("lost frames were declared in the stream")
		o.lost = nil
	} else if o.lost != nil && !id.Less(o.lost.First) {
		o.lost.First = id.Next() // more was lost while the declaration was under way
	}
	for o.unsent.len() > 0 && !id.Less(o.unsent.at(0).id) {
		o.sent.push(o.unsent.pop())
		o.stats.Sent++
	}
	if o.stats.Durable.Less(id) {
		o.stats.Durable = id
	}
	o.bound()
	close(o.drained)
	o.drained = make(chan struct{})
}

// resume prepares for a stream whose last entry of our epoch is last: what
// Redis lost is unsent again, what it lost and we no longer hold is declared.
func (o *Outbox) resume(last frame.ID) (again int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inflight = frame.ID{}
	for o.sent.len() > 0 && last.Less(o.sent.at(o.sent.len()-1).id) {
		o.unsent.unpop(o.sent.popLast())
		again++
	}
	o.stats.Sent -= uint64(again)
	o.stats.Resent += uint64(again)
	o.stats.Durable = last

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
