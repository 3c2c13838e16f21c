package outbox

import (
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/async"
	"framekeeper/pkg/frame"
)

// LogConfig configures a Log.
type LogConfig struct {
	Camera    string
	Limit     int64            // bytes in memory of retained and unsent items together
	Stream    int64            // bytes that the stream may have; 0: there is none (delivery pubsub)
	DiskFirst bool             // nothing is sent before it is on disk
	Clock     *frame.Clock     // nil: a new one
	Now       func() time.Time // nil: time.Now
	Claim     *Claim           // nil: the log has no life before this one, and Epoch
	Epoch     uint64           // of the IDs if there is no claim
	Log       zerolog.Logger
}

// Log is the frame log. Unsent frames stay in memory and (see Spooler) on disk
// until Redis has them; delivered ones are retained in memory while they fit.
//
// Any goroutine may add; one at a time, the session's worker, sends; one, the
// Spooler's, moves items to disk.
type Log struct {
	cfg     LogConfig
	journal *Journal // nil: none

	sendable  async.Wake // for the writer: there may be something to send
	spoolable async.Wake // for the Spooler: there may be something for the disk

	progress progressWatch // of the batch on its way; has a mutex of its own

	mu         sync.Mutex // guards all below
	epoch      uint64
	next       uint64 // the next sequence number
	ledger     ledger
	items      list // ascending; what is missing between them was delivered and evicted
	delivered  int  // so many of the items, from the head
	held       [places][progresses]int64
	watch      func(from, to state)      // of every change of state; nil: nobody does (tests)
	renumbered func(ids span, to uint64) // of every change of IDs; nil: nobody watches (tests)
	bound      streamBound
	stats      Stats
	losses     map[string]uint64 // by kind
	started    startedHeader
	drained    chan struct{} // closed and replaced whenever there is less to send

	writable   bool // a session's writer is at work and Redis accepts frames
	stuck      bool // the batch on its way makes no progress
	memoryOnly bool // the channel has no subscriber: frames stay in memory
	ending     bool // all is to be on disk soon
	unreadable bool // there is a spool, and it cannot be read: nobody knows what is in it

	cramped    time.Time // since when no answer fits, although there is a disk; zero: they do
	store      Store     // nil: memory only
	readFailed bool      // the disk could not give what is to be sent, which is logged
	diskFailed bool      // the disk rejected the last frame: DiskFirst has to do without it
	offered    frame.ID  // everything up to here was offered to the spool
	removable  frame.ID  // the spool may remove the files up to here
}

// startedHeader is what "started" says of the starts before.
type startedHeader struct {
	made     bool
	previous frame.ID
	clean    bool
}

// NewLog makes a log. With a claim it has what the claim's journal knows of earlier
// starts.
func NewLog(cfg LogConfig) *Log {
	if cfg.Clock == nil {
		cfg.Clock = frame.NewClock()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l := &Log{
		cfg: cfg, epoch: cfg.Epoch, next: 1, losses: map[string]uint64{},
		progress: progressWatch{every: progressInterval}, bound: streamBound{max: cfg.Stream},
		sendable: async.NewWake(), spoolable: async.NewWake(), drained: make(chan struct{}),
	}
	if cfg.Claim != nil {
		l.journal, l.epoch, l.ledger = cfg.Claim.journal, cfg.Claim.Epoch, cfg.Claim.ledger.clone()
	}
	l.ledger.open(l.epoch)
	return l
}

// Build makes the message that bears id.
type Build func(id frame.ID) (*frame.Message, error)

// Options of an item.
type Options struct {
	Answer   bool // it is published first, and enters the stream afterwards
	Unlogged bool // it has an ID, but neither stream nor spool get it
	// Payload is published instead of what Wire would derive from the message, as
	// long as it is in memory: pixels that the message has in a lossy encoding only.
	Payload []byte
}

// Add builds a message with the next ID and, unless it is not to be logged, has it
// until Redis does. An answer stays in memory until Published is called.
func (l *Log) Add(opt Options, build Build) (*Item, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := frame.ID{Epoch: l.epoch, Seq: l.next}
	msg, err := build(id)
	if err != nil {
		return nil, fmt.Errorf("build message %s: %w", id, err)
	}
	l.next++
	l.ledger.give(id)
	l.stats.Added++
	l.stats.Newest = id
	if opt.Unlogged {
		return &Item{msg: msg, payload: opt.Payload}, nil
	}
	e := &item{size: int64(msg.Size()), id: id, first: id, msg: msg, progress: unsent}
	if opt.Answer {
		e.progress = awaitingPublish
	}
	l.push(e)
	l.settle()
	l.wakeUsers()
	if l.nearLimit() || l.drainingDisk() {
		l.spoolable.Call()
	}
	return &Item{msg: msg, payload: opt.Payload, logged: e}, nil
}

// Published lets an answer enter the stream. It is called once the answer was
// published, or cannot be.
func (l *Log) Published(i *Item) {
	e := i.logged
	if e == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.progress == awaitingPublish {
		l.set(e, e.place, unsent)
		l.settle()
	}
	l.wakeUsers()
}

// current is an item's message under the ID that it has now.
func (l *Log) current(i *Item) (*frame.Message, error) {
	if i.logged == nil {
		return i.msg, nil
	}
	l.mu.Lock()
	id := i.logged.id
	l.mu.Unlock()
	return withID(i.msg, id)
}

// push appends an item.
func (l *Log) push(e *item) {
	l.items.push(e)
	l.held[e.place][e.progress] += e.memory()
}

// set changes an item's state.
func (l *Log) set(e *item, where place, how progress) {
	l.held[e.place][e.progress] -= e.memory()
	if where == onDisk || where == nowhere {
		e.msg = nil
	}
	l.change(e, where, how)
	l.held[e.place][e.progress] += e.memory()
}

func (l *Log) change(e *item, where place, how progress) {
	if l.watch != nil && (e.place != where || e.progress != how) {
		l.watch(state{e.place, e.progress}, state{where, how})
	}
	e.place, e.progress = where, how
}

// load puts a message that was read from disk into memory.
func (l *Log) load(e *item, m *frame.Message, where place) {
	e.msg, e.size = m, int64(m.Size())
	l.change(e, where, e.progress)
	l.held[e.place][e.progress] += e.memory()
}

// pop takes the head out. It was delivered.
func (l *Log) pop() {
	e := l.items.remove(0)
	l.delivered--
	l.held[e.place][e.progress] -= e.memory()
}

func (l *Log) wakeUsers() {
	l.sendable.Call()
	if !l.writable || l.stuck || l.cfg.DiskFirst {
		l.spoolable.Call()
	}
}

// notify wakes who waits in Flush.
func (l *Log) notify() {
	close(l.drained)
	l.drained = make(chan struct{})
}

// nearLimit reports whether frames come faster than Redis accepts them: the disk
// has to help before memory is full.
func (l *Log) nearLimit() bool { return l.unsentBytes() >= l.cfg.Limit/2 }

// drainingDisk reports whether frames from the disk are being sent: those that are
// added meanwhile wait behind them, and are no safer than during the outage.
func (l *Log) drainingDisk() bool {
	for _, e := range l.items[l.delivered:] {
		if !e.isStarted {
			return e.place == onDisk || e.place == inMemoryAndDisk
		}
	}
	return false
}
