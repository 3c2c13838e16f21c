package outbox

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
)

// Log is the agent's log: it gives frames their IDs and holds them, unsent
// ones until Redis has them, in memory and (see Spooler) on disk; sent ones in
// memory for as long as they fit, so that a Redis that lost its data gets them
// again. What it cannot hold becomes an entry that declares the loss.
//
// Any goroutine may add; one at a time, the session's worker, drains; one, the
// Spooler's, moves items to disk.
type Log struct {
	log   zerolog.Logger
	limit int64 // bytes in memory of sent and unsent items together

	mu        sync.Mutex // guards all below
	epoch     uint64
	next      uint64      // the next sequence number
	started   *Item       // "<epoch>-0", kept for re-seeding
	sent      queue       // in Redis, oldest first
	unsent    queue       // not in Redis, oldest first, without holes: what is missing is a loss
	inflight  frame.ID    // last ID of the batch being sent: it stays as it is
	blocked   atomic.Bool // nobody drains, or Redis refuses
	stalled   atomic.Bool // the batch being sent neither arrives nor moves
	watch     stallWatch  // of that batch; has a mutex of its own
	stats     Stats
	losses    map[string]uint64 // by kind
	written   frame.ID          // everything unsent up to here was offered to the spool
	remove    frame.ID          // the spool may forget everything up to here
	noDisk    bool              // nobody listens: frames stay in memory
	always    bool              // nothing is sent before it is on disk
	diskFails bool              // the disk refused the last frame: always has to do without it
	disk      disk              // nil: memory only
	wake      chan struct{}     // capacity 1, for the drain: there may be something to send
	store     chan struct{}     // capacity 1, for the spooler: there may be something to keep
	drained   chan struct{}     // closed and replaced whenever unsent shrinks
}

// Stats is what the outbox holds and has done; counts are frames.
type Stats struct {
	Newest     frame.ID `json:"newest"`  // last ID given
	Oldest     frame.ID `json:"oldest"`  // oldest still held
	Durable    frame.ID `json:"durable"` // last ID known to be in Redis
	Added      uint64   `json:"added"`
	Sent       uint64   `json:"sent"`    // confirmed by Redis, each once
	Resent     uint64   `json:"resent"`  // put back because Redis had lost them
	Dropped    uint64   `json:"dropped"` // given up before Redis had them, and declared
	Unsent     int      `json:"unsent"`
	UnsentSize int64    `json:"unsent_bytes"` // in memory
	MemorySize int64    `json:"held_bytes"`   // in memory, unsent and retained together
}

// disk is where unsent frames can be read back from.
type disk interface {
	get(id frame.ID) (*frame.Message, error)
}

// NewLog makes an outbox that holds at most limit bytes in memory.
func NewLog(epoch uint64, limit int64, log zerolog.Logger) *Log {
	o := &Log{
		log: log, limit: limit, epoch: epoch, next: 1, losses: map[string]uint64{}, watch: stallWatch{every: stallLook},
		wake: make(chan struct{}, 1), store: make(chan struct{}, 1), drained: make(chan struct{}),
	}
	o.blocked.Store(true)
	return o
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
func (o *Log) Add(opt Options, build Build) (*Item, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	id := frame.ID{Epoch: o.epoch, Seq: o.next}
	msg, err := build(id)
	if err != nil {
		return nil, fmt.Errorf("build message %s: %w", id, err)
	}
	item := NewItem(msg, opt.Payload)
	item.gated = opt.Answer
	o.next++
	o.stats.Added++
	o.stats.Newest = id
	if opt.Stream {
		o.unsent.push(item)
		o.bound()
		o.signal()
		if o.crowded() || o.draining() {
			poke(o.store)
		}
	}
	return item, nil
}

// Start sets the epoch's first entry, "<epoch>-0".
func (o *Log) Start(build Build) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	id := frame.ID{Epoch: o.epoch}
	msg, err := build(id)
	if err != nil {
		return fmt.Errorf("build message %s: %w", id, err)
	}
	o.started = NewItem(msg, nil)
	return nil
}

// Published opens the stream for an answer. It is called once the answer was
// published, or cannot be.
func (o *Log) Published(item *Item) {
	item.published.Store(true)
	o.signal()
}

// bound keeps the items in memory below the limit: retained ones go first, then
// the oldest unsent ones, which is a loss and will be declared. What the spool
// has is the Spooler's to take out of memory.
func (o *Log) bound() {
	for o.sent.len() > 0 && (o.sent.bytes+o.unsent.bytes > o.limit || o.sent.at(0).loss != nil) {
		o.sent.pop()
	}
	for i := 0; o.unsent.bytes > o.limit && i < o.unsent.len()-1; i++ {
		switch e := o.unsent.at(i); {
		case e.ram == 0 || !o.inflight.Less(e.id) || e.pins.Load() > 0:
		case e.onDisk():
			o.unsent.hold(e, nil)
		default:
			o.lose(i, o.shortage())
			i-- // the loss may have been joined to the one before
		}
	}
}

// shortage is why memory has to lose a frame.
func (o *Log) shortage() string {
	if o.noDisk {
		return reasonUnheard
	}
	return reasonMemory
}

// lose replaces the unsent item at index i by the declaration of its loss,
// joined to those before and after it.
func (o *Log) lose(i int, reason string) {
	e := o.unsent.at(i)
	o.stats.Dropped++
	o.countLoss(reason, 1)
	o.unsent.hold(e, nil)
	e.payload, e.file, e.size = nil, frame.ID{}, 0
	e.loss = &LostRange{First: e.id, Last: e.id, Reason: reason, givenUp: e.id}
	after := i+1 < o.unsent.len() && o.joinLoss(i)
	before := i > 0 && o.joinLoss(i-1)
	if !before && !after && reason != reasonUnheard { // that nobody listens was told, and may last for months
		o.log.Warn().Stringer("first", e.id).Str("reason", reason).Msg("frames are being lost; the stream will say which")
	}
}

// joinLoss makes one loss of the items at i and i+1, if both are.
func (o *Log) joinLoss(i int) bool {
	a, b := o.unsent.at(i), o.unsent.at(i+1)
	if a.loss == nil || b.loss == nil || a.id.Epoch != b.id.Epoch || !o.inflight.Less(a.id) {
		return false
	}
	joined := &LostRange{
		First: a.loss.First, Last: b.loss.Last, Reason: join(a.loss.Reason, b.loss.Reason),
		givenUp: a.loss.givenUp, declared: frame.Later(a.loss.declared, b.loss.declared),
	}
	if joined.givenUp.IsZero() {
		joined.givenUp = b.loss.givenUp
	}
	b.loss = joined
	o.unsent.remove(i)
	return true
}

// join names two reasons for one loss.
func join(a, b string) string {
	const enough = 200
	if strings.Contains(a, b) || len(a) > enough {
		return a
	}
	return a + "; " + b
}

func (o *Log) signal() {
	poke(o.wake)
	if o.blocked.Load() || o.stalled.Load() || o.always {
		poke(o.store)
	}
}

// crowded says that frames come faster than Redis takes them: the disk has to
// help before memory is full.
func (o *Log) crowded() bool { return o.unsent.bytes >= o.limit/2 }

// draining says that frames from the disk are on their way: those that come
// meanwhile have to wait behind them, and are no safer than during the outage.
func (o *Log) draining() bool { return o.unsent.len() > 0 && o.unsent.at(0).onDisk() }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
