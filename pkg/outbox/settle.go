package outbox

import "time"

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

// Room is how many bytes of answers may be added; for need of them, items that are on
// disk too leave memory. When no disk helps, or it has not answered for a second, it is
// also what published frames take, and of a full spool those that it does not take: the
// oldest of them are lost before a request is refused. A log without unsent items in memory takes one, however large.
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
	} else if taken+need > l.cfg.Limit {
		taken -= l.refusedBytes()
	}
	return l.cfg.Limit - taken, taken == 0
}

// refusedBytes is what published frames take in memory that a full spool does not take.
func (l *Log) refusedBytes() (bytes int64) {
	for _, e := range l.items[l.delivered:] {
		if e.refused && e.place == inMemory && e.progress == unsent {
			bytes += e.memory()
		}
	}
	return bytes
}

// diskPatience is how long answers wait for a disk that would make room for them.
const diskPatience = time.Second
