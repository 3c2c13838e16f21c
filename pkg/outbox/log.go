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
//	           or memory fills                Journal: what was given, delivered,
//	                                          trimmed, given up, over all starts
//
// # States
//
// An item is a frame, a run of lost frames, or "started". Where it is: Memory,
// MemoryAndDisk, Disk, Lost. How far it has come: AwaitingPublish (an answer that
// nobody has yet), Unsent, InFlight, Delivered. Only these changes exist
// (transitions; a test compares):
//
//	event              from                          to
//	published          Memory|MemoryAndDisk          the same/Unsent
//	                   /AwaitingPublish
//	spooled            Memory/any but Delivered      MemoryAndDisk/the same
//	spool gave it up   MemoryAndDisk/any             Memory/the same
//	                   Disk/Unsent                   Lost/Unsent
//	memory short       MemoryAndDisk/Unsent          Disk/Unsent
//	                   Memory/Unsent                 Lost/Unsent
//	batch begins       any/Unsent                    the same/InFlight
//	  and is read      Disk/InFlight                 MemoryAndDisk|Memory|Lost/InFlight
//	batch commits      any/InFlight                  Memory|Lost/Delivered
//	batch fails        any/InFlight                  the same/Unsent
//	Redis has it       any/Unsent                    Memory|Lost/Delivered
//	Redis lost it      Memory|Lost/Delivered         the same/Unsent
//	too large          any/Unsent                    Lost/Unsent
//
// Delivered items leave from the head of the list when memory is short or the
// stream has trimmed them; what then is lost by Redis is named from the ledger.
//
// It promises:
//
//   - IDs rise by one within an epoch and are never used twice. An epoch is saved
//     before it is used (Claim).
//   - Every ID reaches the stream once and in order: as its frame, or within a
//     declaration of lost frames, over all starts of the agent. What a kill or a
//     power cut took before it was on disk or in the journal is unknown, and the
//     next "started" says so (clean: false).
//   - Unsent and retained frames together take no more memory than the limit, but
//     for one frame; what cannot stay is evicted (if it is on disk or in Redis) or
//     declared lost.
//   - When Redis loses its data, the stream is made again of what it would have:
//     retained frames are sent again, the others above the trim bound are declared.
//   - An error that may pass loses nothing: a file that cannot be read now waits.
//
// It refuses a camera that another process has claimed, and does not write to a
// stream in which it finds entries that are not its own.
//
// internal/agent uses it. It is independent of cameras and requests. Nothing outside
// the Log touches an item's fields; Spooler and writers use methods only. Log,
// Journal, Spooler and writers are step machines: their goroutines are a loop around
// a step, so that the simulation in the tests can order every event.
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
	"maps"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/async"
	"framekeeper/pkg/frame"
)

// LogConfig configures a Log.
type LogConfig struct {
	Camera    string
	Limit     int64        // bytes in memory of retained and unsent items together
	Stream    int64        // bytes that the stream may have; 0: there is none (delivery pubsub)
	DiskFirst bool         // nothing is sent before it is on disk
	Clock     *frame.Clock // nil: a new one
	Claim     *Claim       // nil: the log has no life before this one, and Epoch
	Epoch     uint64       // of the IDs if there is no claim
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

	mu        sync.Mutex // guards all below
	epoch     uint64
	next      uint64 // the next sequence number
	ledger    ledger
	items     list // ascending; what is missing between them was delivered and evicted
	delivered int  // so many of the items, from the head
	held      [places][progresses]int64
	watch     func(from, to state) // of every change of state; nil: nobody does (tests)
	bound     streamBound
	stats     Stats
	losses    map[string]uint64 // by kind
	started   startedHeader
	drained   chan struct{} // closed and replaced whenever there is less to send

	writable   bool // a session's writer is at work and Redis accepts frames
	stuck      bool // the batch on its way makes no progress
	memoryOnly bool // the channel has no subscriber: frames stay in memory
	ending     bool // all is to be on disk soon
	unreadable bool // there is a spool, and it cannot be read: nobody knows what is in it

	hanging    func() time.Duration // for how long the disk has not answered; nil: there is none
	store      Store                // nil: memory only
	readFailed bool                 // the disk could not give what is to be sent, which is logged
	diskFailed bool                 // the disk rejected the last frame: DiskFirst has to do without it
	offered    frame.ID             // everything up to here was offered to the spool
	removable  frame.ID             // the spool may remove the files up to here
}

// diskPatience is how long answers wait for a disk that would make room for them.
const diskPatience = time.Second

// startedHeader is what "started" says of the starts before.
type startedHeader struct {
	made     bool
	previous frame.ID
	clean    bool
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

// NewLog makes a log. With a claim it has what the claim's journal knows of earlier
// starts.
func NewLog(cfg LogConfig) *Log {
	if cfg.Clock == nil {
		cfg.Clock = frame.NewClock()
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

// sum adds up bytes in memory by progress.
func (l *Log) sum(of ...progress) (bytes int64) {
	for where := range l.held {
		for _, how := range of {
			bytes += l.held[where][how]
		}
	}
	return bytes
}

func (l *Log) memory() int64 { return l.unsentBytes() + l.sum(delivered) }

func (l *Log) unsentBytes() int64 { return l.sum(awaitingPublish, unsent, inFlight) }

// settle restores the bounds; it is called after every event. Unsent items that are
// on disk too leave memory first, then delivered ones, which have no other copy, and
// when that does not suffice the oldest that only memory has are lost.
func (l *Log) settle() {
	l.evict(l.cfg.Limit*3/4, false)
	l.evict(l.cfg.Limit, true)
	for l.delivered > 0 {
		e := l.items[0]
		evicted := e.isLost() && e.reason == ""
		if !evicted && !e.id.Less(l.ledger.floor) && l.memory() <= l.cfg.Limit {
			break
		}
		l.pop()
	}
	// What was read from disk to be sent leaves by itself.
	for i := l.delivered; i < len(l.items)-1 && l.unsentBytes()-l.held[inMemoryAndDisk][inFlight] > l.cfg.Limit; i++ {
		e := l.items[i]
		if e.place != inMemory || e.progress != unsent || e.isStarted {
			continue
		}
		reason := reasonMemory
		switch {
		case l.memoryOnly:
			reason = reasonNoReceivers
		case e.reason != "": // the spool had it, and gave it up
			reason = e.reason
		}
		i -= l.loseAt(i, reason)
	}
}

// evict has unsent items that are on disk too leave memory until no more than enough
// is taken. Those that Redis had lost do so last: they are older than what the spool
// has, and would be the first to go there.
func (l *Log) evict(enough int64, resent bool) {
	for i := l.delivered; i < len(l.items) && l.held[inMemoryAndDisk][unsent] > 0 && l.memory() > enough; i++ {
		if e := l.items[i]; e.place == inMemoryAndDisk && e.progress == unsent && (resent || !e.resent) {
			l.set(e, onDisk, unsent)
		}
	}
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

// unsentItems is how many items are still to be sent, "started" apart.
func (l *Log) unsentItems() (n int) {
	n = len(l.items) - l.delivered
	if n > 0 && l.startedUnsent() {
		n--
	}
	return n
}

// startedUnsent reports whether "started" waits to be sent.
func (l *Log) startedUnsent() bool {
	id := frame.ID{Epoch: l.epoch}
	i := l.items.search(id)
	return i >= l.delivered && i < len(l.items) && l.items[i].isStarted
}

// Stats is the state of the log and its counters.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Unsent, s.UnsentSize = l.unsentItems(), l.unsentBytes()
	s.MemorySize = l.memory()
	if len(l.items) > 0 {
		s.Oldest = l.items[0].first
	}
	return s
}

// Losses counts the frames lost since the start, by kind. Unlike Stats.Dropped it
// never falls: a frame that is read back after all, or was in Redis already, stays
// counted.
func (l *Log) Losses() map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.losses)
}

// Room is how many bytes of answers may be added; for need of them, items that are on
// disk too leave memory. When no disk helps, or it has not answered for a second, it is
// also what published frames take: the oldest of them are lost before a request is
// refused. A log without unsent items in memory takes one, however large.
func (l *Log) Room(need int64) (bytes int64, empty bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := l.delivered; i < len(l.items) && l.held[inMemoryAndDisk][unsent] > 0 && l.unsentBytes()+need > l.cfg.Limit; i++ {
		if e := l.items[i]; e.place == inMemoryAndDisk && e.progress == unsent {
			l.set(e, onDisk, unsent)
		}
	}
	taken := l.unsentBytes()
	if l.store == nil || l.diskFailed || l.hanging != nil && l.hanging() > diskPatience {
		taken -= l.held[inMemory][unsent]
	}
	return l.cfg.Limit - taken, taken == 0
}

// Epoch is the epoch of the IDs that are given.
func (l *Log) Epoch() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch
}

// Persisted is the last ID that Redis or the disk has, or that is known to be lost,
// and whether that are all.
func (l *Log) Persisted() (last frame.ID, all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last = l.stats.Durable
	for _, e := range l.items[l.delivered:] {
		if e.place == inMemory && !e.isStarted {
			return last, false
		}
		last = e.id
	}
	return last, true
}

// saveEpoch saves the epoch in use, before any of its IDs is. A state directory that
// cannot be written is logged; IDs then depend on the clock and the stream.
func (l *Log) saveEpoch() {
	if l.cfg.Claim == nil {
		return
	}
	if err := l.cfg.Claim.setEpoch(l.Epoch(), l.snapshot()); err != nil {
		l.cfg.Log.Error().Err(err).Msg("The epoch cannot be saved: IDs depend on the clock alone")
	}
}

// snapshot is what the journal saves.
func (l *Log) snapshot() ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ledger.clone()
}

// atEnd is what the journal saves at an orderly end: frames that only memory has are
// lost with it. Of a stream the next start sees that; on the channel what is missing
// may as well have been answers.
func (l *Log) atEnd() ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.items[l.delivered:] {
		if l.cfg.Stream == 0 && e.place == inMemory {
			l.ledger.addLoss(e.id, e.id, reasonRestart)
		}
	}
	return l.ledger.clone()
}

// Flush waits until Redis has everything, or ctx ends.
func (l *Log) Flush(ctx context.Context) error {
	return flush(ctx, &l.mu, func() (bool, <-chan struct{}) { return l.unsentItems() == 0, l.drained })
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
