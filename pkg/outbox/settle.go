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
// disk too leave memory. When no disk helps, or has not made room for a second (it is
// slow, hung or full), it is also what published frames take: the oldest of them are
// lost before requests are refused. A log without unsent items in memory takes one,
// however large.
func (l *Log) Room(need int64) (bytes int64, empty bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := l.delivered; i < len(l.items) && l.held[inMemoryAndDisk][unsent] > 0 && l.unsentBytes()+need > l.cfg.Limit; i++ {
		if e := l.items[i]; e.place == inMemoryAndDisk && e.progress == unsent {
			l.set(e, onDisk, unsent)
		}
	}
	taken := l.unsentBytes()
	switch now := l.cfg.Now(); {
	case taken+need <= l.cfg.Limit:
		l.cramped = time.Time{}
	case l.store == nil || l.diskFailed || !l.cramped.IsZero() && now.Sub(l.cramped) > diskPatience:
		taken -= l.held[inMemory][unsent]
	case l.cramped.IsZero():
		l.cramped = now
	}
	return l.cfg.Limit - taken, taken == 0
}

// diskPatience is how long answers wait for a disk that would make room for them.
const diskPatience = time.Second
