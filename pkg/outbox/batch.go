package outbox

import (
	"context"
	"errors"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/spool"
)

// This file is the log as the session's writer uses it: what is to be sent next,
// and what Redis is known to have.

// batch is up to n items or size bytes from the head of what is unsent. They stay
// there.
func (l *Log) batch(n int, size int64) (items []*Item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.unsent.items {
		if len(items) == n || !e.sendable() || (len(items) > 0 && size < e.size) || (l.diskFirst && !l.diskFailed && e.spoolable()) {
			break
		}
		size -= e.size
		items = append(items, e)
		l.inFlight = e.id
	}
	return items
}

// nextBatch waits for a batch; nil when ctx ends.
func (l *Log) nextBatch(ctx context.Context) []*Item {
	for {
		if items := l.batch(batchItems, batchBytes); len(items) > 0 {
			return items
		}
		if !await(ctx, l.sendable) {
			return nil
		}
	}
}

// message is what an item of a batch sends: its message, read back from disk if
// need be, or the declaration that it is. A file that cannot be read becomes one.
func (l *Log) message(e *Item) (*frame.Message, *declaration) {
	if m := e.Message(); m != nil {
		return m, nil
	}
	l.mu.Lock()
	lost, disk, file := e.lost, l.disk, e.file
	if lost != nil {
		lost.inward = lost.last
	}
	l.mu.Unlock()
	if lost != nil || disk == nil {
		return nil, lost
	}
	m, err := disk.get(file)
	if err == nil {
		m, err = withID(m, e.id)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		if e.lost != nil { // the spool dropped it right after
			e.lost = nil
			l.stats.Dropped--
		}
		l.unsent.setMessage(e, m) // until Redis has it, and then while there is room
		return m, nil
	}
	if e.lost == nil { // otherwise the spool has reported it meanwhile
		l.log.Error().Stringer("id", e.id).Err(err).Msg("A frame on disk is unreadable")
		if errors.Is(err, spool.ErrGone) { // dropped to make room; the report is on its way
			l.drop(e, reasonSpool)
		} else {
			l.drop(e, reasonUnreadable)
		}
	}
	e.lost.inward = e.id
	return nil, e.lost
}

// delivered notes that Redis has everything up to id.
func (l *Log) delivered(id frame.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight = frame.ID{}
	l.retain(id)
	l.stats.Durable = frame.Later(l.stats.Durable, id)
	l.enforceLimit()
}

// rejected notes that nothing of a batch is on its way any more, for nobody
// accepted it: its frames are as old as any, and make room for newer ones.
func (l *Log) rejected() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight = frame.ID{}
	l.enforceLimit()
}

// retain moves what Redis has up to id from the unsent to the retained items. The
// caller has mu.
func (l *Log) retain(id frame.ID) {
	e := l.unsent.head()
	for ; e != nil && !id.Less(e.id); e = l.unsent.head() {
		l.unsent.pop()
		if e.lost == nil {
			l.stats.Sent++
		} else {
			l.declared(e.lost, id)
		}
		if e.onDisk() {
			l.removable = e.file
			l.spoolable.Call()
		}
		if e.memory > 0 || e.lost != nil {
			l.retained.push(e) // without holes, so that it can all be added again
		} else {
			l.retained = queue{}
		}
	}
	if e != nil && e.lost != nil && e.lost.first.Epoch == id.Epoch && !id.Less(e.lost.first) {
		l.declared(e.lost, id)
		rest := *e.lost
		rest.first = id.Next()
		e.lost = &rest
	}
	close(l.drained)
	l.drained = make(chan struct{})
}

// resume prepares for a stream whose last entry of ours is last (zero: none): what
// Redis lost is unsent again, and declared if it is not in memory any more. It
// returns how many frames are sent again.
func (l *Log) resume(last frame.ID) (again int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight = frame.ID{}
	n := 0
	for items := l.retained.items; n < len(items) && last.Less(items[len(items)-1-n].id); n++ {
		e := items[len(items)-1-n]
		e.redisLost, e.diskRefused = true, false
		if e.lost == nil {
			again++
		}
	}
	l.unsent.pushFront(l.retained.popLast(n)...)
	l.stats.Sent -= uint64(again)   //nolint:gosec // not negative
	l.stats.Resent += uint64(again) //nolint:gosec // not negative
	l.offered = frame.ID{}
	l.retain(last)
	l.stats.Durable = last
	l.declareMissing(last)
	return again
}

// setWritable notes whether a writer is at work and Redis accepts frames: if not,
// they go to disk.
func (l *Log) setWritable(is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.writable.Swap(is)
	if is {
		return
	}
	if was { // the disk is offered what only memory was to have
		l.offerAgain()
	}
	l.inFlight = frame.ID{}
	l.spoolable.Call()
}

// sentAny reports whether Redis has been given something: the epoch is settled.
func (l *Log) sentAny() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats.Sent > 0 || len(l.retained.items) > 0 || l.stats.Durable.Epoch == l.epoch
}
