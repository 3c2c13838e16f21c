package outbox

import (
	"errors"
	"fmt"
	"time"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/spool"
)

// streamEntry is one entry of the stream, or message of the channel.
type streamEntry struct {
	id  frame.ID
	msg *frame.Message
}

// batch is what is on its way to Redis: the oldest unsent items, which stay as they
// are until it is committed or has failed.
type batch struct {
	log     *Log
	items   []*item
	entries []streamEntry
	floor   frame.ID // what the stream may trim with them: everything below
}

// begin takes up to n items or size bytes from the head of what is unsent. Frames
// of ceiling bytes (0: none) or more are given up: Redis does not accept them. An error
// means that the disk cannot give the first one now. nil: there is nothing to send.
func (l *Log) begin(n int, size, ceiling int64) (*batch, error) {
	b := &batch{log: l, items: l.take(n, size, ceiling)}
	for i, e := range b.items {
		if i > 0 && l.crowded() { // one frame read from disk may be too much, not more
			l.fail(b.items[i:])
			b.items = b.items[:i]
			break
		}
		m, err := l.message(e)
		if err != nil {
			l.fail(b.items[i:])
			if b.items = b.items[:i]; i == 0 {
				return nil, err
			}
			break
		}
		if size -= int64(m.Size()); i > 0 && size < 0 { // what an earlier start spooled has its size only now
			l.fail(b.items[i:])
			b.items = b.items[:i]
			break
		}
		b.entries = append(b.entries, streamEntry{e.id, m})
	}
	if len(b.items) == 0 {
		return nil, nil //nolint:nilnil // nothing to send is no error
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settle() // what was read from disk needs room
	b.floor = l.bound.floorWith(b.entries)
	return b, nil
}

// beginBatch begins a batch of what may be sent together, one by one if singly.
// Without one it returns how long to wait for it.
func beginBatch(l *Log, c *Ceiling, singly bool) (*batch, time.Duration) {
	n := batchItems
	if singly {
		n = 1
	}
	b, err := l.begin(n, c.together(), c.limit())
	l.logRead(err)
	switch {
	case err != nil:
		return nil, refusedWait
	case b == nil:
		return nil, idle
	}
	return b, 0
}

// logRead logs, once, that the disk cannot give what is to be sent.
func (l *Log) logRead(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && !l.readFailed {
		l.cfg.Log.Warn().Err(err).Msg("A frame on disk cannot be read now; it is tried again every second")
	}
	l.readFailed = err != nil
}

// sizes are the bytes of all entries together and of the largest one.
func (b *batch) sizes() (total, largest int64) {
	for _, e := range b.entries {
		n := int64(e.msg.Size())
		total, largest = total+n, max(largest, n)
	}
	return total, largest
}

// crowded reports whether what is unsent takes more than the limit already.
func (l *Log) crowded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settle()
	return l.unsentBytes() > l.cfg.Limit
}

// take marks the items of a batch.
func (l *Log) take(n int, size, ceiling int64) (items []*item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := l.delivered; i < len(l.items); i++ {
		e := l.items[i]
		if len(items) == n || e.progress != unsent || (len(items) > 0 && size < e.size) ||
			(l.cfg.DiskFirst && !l.diskFailed && !l.memoryOnly && l.store != nil && e.spoolable() && !e.isStarted) {
			break
		}
		if ceiling > 0 && e.size >= ceiling && !e.isLost() {
			i -= l.loseAt(i, tooLarge(e.size))
			e = l.items[i]
		}
		size -= e.size
		l.set(e, e.place, inFlight)
		items = append(items, e)
	}
	return items
}

// message is what an item in flight sends: its message, read back from disk if
// need be, or the declaration that it is. A file that is gone or damaged becomes
// one; any other error may pass.
func (l *Log) message(e *item) (*frame.Message, error) {
	l.mu.Lock()
	m, file, store := e.msg, e.file, l.store
	var err error
	switch {
	case m != nil:
	case e.isStarted:
		m, err = l.startedMessage()
	case e.place == nowhere:
		m, err = l.declaration(e)
	}
	l.mu.Unlock()
	if m != nil || err != nil {
		return m, err
	}
	m, err = store.Get(file)
	if err == nil {
		m, err = withID(m, e.id)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		where := inMemoryAndDisk
		if e.file.IsZero() { // the spool gave it up right after
			where, e.reason = inMemory, ""
		}
		l.load(e, m, where)
		return m, nil
	}
	if !errors.Is(err, spool.ErrGone) && !errors.Is(err, spool.ErrCorrupt) {
		return nil, fmt.Errorf("read frame %s back: %w", e.id, err)
	}
	l.cfg.Log.Error().Stringer("id", e.id).Err(err).Msg("A frame on disk is unreadable")
	reason := e.reason
	switch {
	case reason != "":
	case errors.Is(err, spool.ErrGone): // dropped to make room; the report is on its way
		reason = reasonSpool
	default:
		reason = reasonUnreadable
	}
	l.lose(e, reason)
	return l.declaration(e)
}

// commit notes that Redis has the first n items, and returns their size.
func (b *batch) commit(n int) (bytes int64) {
	l := b.log
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, e := range b.items[:n] {
		l.deliver(e)
		l.bound.add(b.entries[i])
		bytes += int64(b.entries[i].msg.Size())
	}
	b.items, b.entries = b.items[n:], b.entries[n:]
	if len(b.items) == 0 {
		l.raiseFloor(b.floor)
	}
	l.settle()
	l.notify()
	return bytes
}

// giveUp gives a frame up that cannot be sent: it is to be declared. The batch has
// failed.
func (b *batch) giveUp(id frame.ID, reason string) {
	b.fail()
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	if i := b.log.items.search(id); !b.log.items[i].isLost() { // else memory was short
		b.log.loseAt(i, reason)
	}
}

// fail notes that what was not committed is not on its way any more.
func (b *batch) fail() { b.log.fail(b.items) }

func (l *Log) fail(items []*item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range items {
		if e.progress == inFlight {
			l.set(e, e.place, unsent)
			if e.place == onDisk && e.file.IsZero() { // the spool gave it up meanwhile
				l.loseAt(l.items.search(e.id), e.reason)
			}
		}
	}
	l.settle()
}

// deliver notes that Redis has the item, which is the first that is not delivered.
func (l *Log) deliver(e *item) {
	switch {
	case e.isLost():
		l.declared(e)
	case !e.isStarted:
		l.stats.Sent++
	}
	if !e.file.IsZero() {
		l.removable = e.file
		e.file = frame.ID{}
		l.spoolable.Call()
	}
	where := inMemory
	if e.place == onDisk || e.place == nowhere {
		where = nowhere
	}
	if e.place == onDisk { // an earlier start sent it: there is nothing to retain
		e.reason = ""
	}
	l.set(e, where, delivered)
	l.delivered++
	l.stats.Durable = frame.Later(l.stats.Durable, e.id)
	l.ledger.delivered(e.id)
}

// raiseFloor notes that the stream has trimmed everything below.
func (l *Log) raiseFloor(floor frame.ID) {
	if floor.IsZero() {
		return
	}
	l.ledger.raiseFloor(floor)
	l.bound.trim(floor)
}

// sentAny reports whether Redis has been given something: the epoch is settled.
func (l *Log) sentAny() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.delivered > 0 || l.stats.Durable.Epoch == l.epoch
}

// setWritable notes whether a writer is at work and Redis accepts frames: if not,
// they go to disk.
func (l *Log) setWritable(is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.writable
	if l.writable = is; is {
		return
	}
	if was { // the disk is offered what only memory was to have
		l.offerAgain()
	}
	l.spoolable.Call()
}
