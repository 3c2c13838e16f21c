// Package outbox is the frame log of one camera: it gives frames their IDs, stores
// them until Redis has them, and writes them there.
//
//	             Add                         a session's worker
//	 frame ───► Log: unsent ──────────────► StreamWriter ──► XADD frames:<camera>
//	   │          │    ▲  ▲                       │ (delivery pubsub: ChannelWriter ──► PUBLISH)
//	   │ answer   │    │  └─ Redis lost it        ▼
//	   ▼          │    │                       delivered
//	Publisher     │    └──── read back            │
//	   │          ▼              │                ▼
//	   ▼       Spooler ──► pkg/spool          Log: retained, while there is room
//	PUBLISH    while Redis accepts nothing,
//	           or memory fills
//
// An answer is published first; only then may its entry enter the stream.
//
// It promises:
//
//   - IDs rise by one within an epoch and are never used twice. An epoch is saved
//     before it is used (Claim).
//   - Every ID reaches the stream once and in order: as its frame, or within a
//     declaration of lost frames. After a kill or a power cut that holds for what
//     was on disk; the next start declares that it was not a clean one.
//   - Unsent and retained frames together take no more memory than the limit, but
//     for one frame; what cannot stay is evicted (if it is on disk or in Redis) or
//     declared lost.
//   - When Redis loses its data, retained frames are sent again, and what is not
//     in memory any more is declared.
//
// It refuses a camera that another process has claimed, and does not write to a
// stream in which it finds entries that are not its own.
//
// internal/agent uses it. It is independent of cameras and requests. Nothing outside
// touches an item's fields; Spooler and writers use methods of Log and Item only.
//
// Why it is so: several entries go to Redis in one MULTI, because an entry that
// is refused while the next one is taken could never be added later. Every XADD
// but the one that creates the stream carries NOMKSTREAM, so that a stream which
// vanishes under a live session is noticed with the next frame. A refused ID
// counts as delivered only if the stream's last ID is one that we sent;
// otherwise it is a conflict. Answers and continuous frames have a lane and a
// connection each, so that an answer never waits behind frames. A start that
// cannot read the spool leaves it to a later one, which gives what the stream
// has passed new IDs.
package outbox

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"

	"framekeeper/internal/async"
	"framekeeper/pkg/frame"
)

// Log is the frame log. Unsent frames stay in memory and (see Spooler) on disk
// until Redis has them; delivered ones are retained in memory while they fit.
//
// Any goroutine may add; one at a time, the session's worker, sends; one, the
// Spooler's, moves items to disk.
type Log struct {
	log   zerolog.Logger
	limit int64 // bytes in memory of retained and unsent items together

	sendable  async.Wake // for the writer: there may be something to send
	spoolable async.Wake // for the Spooler: there may be something for the disk

	writable atomic.Bool   // a session's writer is at work and Redis accepts frames
	stuck    atomic.Bool   // the batch on its way makes no progress
	progress progressWatch // of that batch; has a mutex of its own

	mu         sync.Mutex // guards all below
	epoch      uint64
	next       uint64   // the next sequence number
	started    *Item    // "<epoch>-0", for a stream that begins
	retained   queue    // in Redis, oldest first
	unsent     queue    // not in Redis, oldest first, without holes: what is missing is declared
	inFlight   frame.ID // last ID of the batch on its way, which stays as it is
	stats      Stats
	losses     map[string]uint64 // by kind
	offered    frame.ID          // everything unsent up to here was offered to the spool
	removable  frame.ID          // the spool may remove everything up to here
	memoryOnly bool              // the channel has no subscriber: frames stay in memory
	diskFirst  bool              // nothing is sent before it is on disk
	diskFailed bool              // the disk rejected the last frame: diskFirst has to do without it
	disk       disk              // nil: memory only
	drained    chan struct{}     // closed and replaced whenever unsent shrinks
}

// disk is where unsent frames are read back from.
type disk interface {
	get(id frame.ID) (*frame.Message, error)
}

// Stats is the state of the log and its counters, in frames.
type Stats struct {
	Newest     frame.ID `json:"newest"`  // last ID given
	Oldest     frame.ID `json:"oldest"`  // oldest in the log
	Durable    frame.ID `json:"durable"` // last ID known to be in Redis
	Added      uint64   `json:"added"`
	Sent       uint64   `json:"sent"`    // confirmed by Redis, each once
	Resent     uint64   `json:"resent"`  // unsent again because Redis had lost them
	Dropped    uint64   `json:"dropped"` // lost before Redis had them, and declared
	Unsent     int      `json:"unsent"`
	UnsentSize int64    `json:"unsent_bytes"` // in memory
	MemorySize int64    `json:"held_bytes"`   // in memory, unsent and retained together
}

// NewLog makes a log that takes at most limit bytes of memory.
func NewLog(epoch uint64, limit int64, log zerolog.Logger) *Log {
	return &Log{
		log: log, limit: limit, epoch: epoch, next: 1, losses: map[string]uint64{},
		progress: progressWatch{every: progressInterval},
		sendable: async.NewWake(), spoolable: async.NewWake(), drained: make(chan struct{}),
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

// Add builds a message with the next ID and, if it is for the stream, logs it
// until Redis has it.
func (l *Log) Add(opt Options, build Build) (*Item, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := frame.ID{Epoch: l.epoch, Seq: l.next}
	msg, err := build(id)
	if err != nil {
		return nil, fmt.Errorf("build message %s: %w", id, err)
	}
	item := NewItem(msg, opt.Payload)
	item.answer = opt.Answer
	l.next++
	l.stats.Added++
	l.stats.Newest = id
	if opt.Stream {
		l.unsent.push(item)
		l.enforceLimit()
		l.wakeUsers()
		if l.nearLimit() || l.drainingDisk() {
			l.spoolable.Call()
		}
	}
	return item, nil
}

// Start sets the epoch's first entry, "<epoch>-0".
func (l *Log) Start(build Build) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := frame.ID{Epoch: l.epoch}
	msg, err := build(id)
	if err != nil {
		return fmt.Errorf("build message %s: %w", id, err)
	}
	l.started = NewItem(msg, nil)
	return nil
}

// Published lets an answer enter the stream. It is called once the answer was
// published, or cannot be.
func (l *Log) Published(item *Item) {
	item.published.Store(true)
	l.wakeUsers()
}

// enforceLimit brings the items in memory below the limit: it evicts retained
// ones, then unsent ones that are on disk, and drops the oldest unsent ones.
func (l *Log) enforceLimit() {
	for e := l.retained.head(); e != nil && (l.retained.bytes+l.unsent.bytes > l.limit || e.lost != nil); e = l.retained.head() {
		l.retained.pop()
	}
	for i := 0; l.unsent.bytes > l.limit && i < len(l.unsent.items)-1; i++ {
		switch e := l.unsent.items[i]; {
		case e.memory == 0 || !l.inFlight.Less(e.id) || e.pinned():
		case e.onDisk():
			l.unsent.setMessage(e, nil)
		case l.memoryOnly:
			l.dropAt(i, reasonNoReceivers)
			i-- // its declaration may have been joined to the one before
		default:
			l.dropAt(i, reasonMemory)
			i--
		}
	}
}

func (l *Log) wakeUsers() {
	l.sendable.Call()
	if !l.writable.Load() || l.stuck.Load() || l.diskFirst {
		l.spoolable.Call()
	}
}

// nearLimit reports whether frames come faster than Redis accepts them: the disk
// has to help before memory is full.
func (l *Log) nearLimit() bool { return l.unsent.bytes >= l.limit/2 }

// drainingDisk reports whether frames from the disk are being sent: those that are
// added meanwhile wait behind them, and are no safer than during the outage.
func (l *Log) drainingDisk() bool { e := l.unsent.head(); return e != nil && e.onDisk() }

// Stats is the state of the log and its counters.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Unsent, s.UnsentSize = len(l.unsent.items), l.unsent.bytes
	s.MemorySize = l.unsent.bytes + l.retained.bytes
	if e := l.retained.head(); e != nil {
		s.Oldest = e.id
	} else if e := l.unsent.head(); e != nil {
		s.Oldest = e.first()
	}
	return s
}

// Room is how many bytes of items may be added before memory is full. A log
// without unsent items in memory takes one, however large.
func (l *Log) Room() (bytes int64, empty bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limit - l.unsent.bytes, l.unsent.bytes == 0
}

// Epoch is the epoch of the IDs that are given.
func (l *Log) Epoch() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch
}

// Persisted is the last ID that Redis or the disk has, and whether they have all.
func (l *Log) Persisted() (last frame.ID, all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last = l.stats.Durable
	for _, e := range l.unsent.items {
		if !e.onDisk() && e.lost == nil {
			return last, false
		}
		last = e.id
	}
	return last, true
}

// Flush waits until Redis has everything, or ctx ends.
func (l *Log) Flush(ctx context.Context) error {
	return flush(ctx, &l.mu, func() (bool, <-chan struct{}) { return len(l.unsent.items) == 0, l.drained })
}

// flush waits until state, which mu guards, is done. Its channel is closed when it may be.
func flush(ctx context.Context, mu *sync.Mutex, state func() (done bool, changed <-chan struct{})) error {
	for {
		mu.Lock()
		done, changed := state()
		mu.Unlock()
		if done {
			return nil
		}
		if !await(ctx, changed) {
			return ctx.Err()
		}
	}
}
