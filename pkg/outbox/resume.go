package outbox

import (
	"framekeeper/pkg/frame"
)

// resume prepares for a stream whose last entry is last (zero: it has none): what
// Redis has is delivered, what it lost is unsent again, and what neither memory nor
// disk has of it becomes a lost run, of this epoch and of earlier ones. It returns
// how many frames are sent again.
func (l *Log) resume(last frame.ID) (again int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !last.IsZero() && last.Epoch < l.epoch {
		if l.knew(last.Epoch) { // that start came to its own frames after all others
			l.ledger.settleBefore(last.Epoch)
		}
		l.ledger.found(last)
	}
	l.bound.cut(last)
	for ; l.delivered > 0 && last.Less(l.items[l.delivered-1].id); l.delivered-- {
		if e := l.items[l.delivered-1]; l.lostByRedis(e) {
			again++
		}
	}
	l.stats.Sent -= uint64(again)   //nolint:gosec // not negative
	l.stats.Resent += uint64(again) //nolint:gosec // not negative
	l.splitAt(last)
	for l.delivered < len(l.items) {
		e := l.items[l.delivered]
		trimmed := e.id.Less(l.ledger.floor) && !l.ledger.sent(e.id.Epoch).Less(e.id)
		if last.Less(e.id) && !trimmed {
			break
		}
		if e.progress == awaitingPublish { // its repeat was given up
			l.set(e, e.place, unsent)
		}
		size := e.size
		if e.isLost() {
			size = declarationSize
		}
		l.deliver(e)
		if !last.Less(e.id) && size > 0 {
			l.bound.addSize(e.id, size)
		}
	}
	l.stats.Durable = last
	l.offered = frame.ID{}
	l.insertStarted(last)
	l.fill(last)
	l.settle()
	l.notify()
	return again
}

// lostByRedis makes a delivered item unsent again; true if it is a frame.
func (l *Log) lostByRedis(e *item) bool {
	if e.place == nowhere && e.reason == "" {
		e.reason = reasonRedisLost
	}
	l.set(e, e.place, unsent)
	e.refused, e.resent = false, true
	return !e.isLost() && !e.isStarted
}

// splitAt cuts a lost run that Redis has a part of.
func (l *Log) splitAt(last frame.ID) {
	i := l.items.search(last)
	if i >= len(l.items) {
		return
	}
	e := l.items[i]
	if !e.isLost() || e.first.Epoch != last.Epoch || last.Less(e.first) || !last.Less(e.id) {
		return
	}
	left := *e
	left.id, e.first = last, last.Next()
	if last.Less(e.dropped) {
		left.dropped = frame.ID{}
	} else if !e.dropped.IsZero() {
		e.dropped = e.first
	}
	if last.Less(e.declaredTo) {
		left.declaredTo = last
	} else {
		e.declaredTo = frame.ID{}
	}
	l.items.insert(i, &left)
}

// insertStarted has "started" sent if the stream has not come to it, and is not
// beyond it for good.
func (l *Log) insertStarted(last frame.ID) {
	id := frame.ID{Epoch: l.epoch}
	if l.cfg.Stream == 0 || !last.Less(id) || id.Less(l.ledger.floor) {
		return
	}
	was := l.started
	l.started = startedHeader{
		made: true, previous: l.ledger.newestBefore(l.epoch),
		clean: l.ledger.complete(last, l.epoch) && (was.clean || !was.made), // what is unknown stays so for who has not read it yet
	}
	if was.made { // which Redis may have had
		l.started.previous = was.previous
	}
	if l.unreadable {
		l.started = startedHeader{made: true}
	}
	i := l.items.search(id)
	if i < len(l.items) && l.items[i].isStarted {
		return
	}
	l.items.insert(i, &item{id: id, first: id, isStarted: true, progress: unsent})
}

// startedMessage is the epoch's first entry.
func (l *Log) startedMessage() (*frame.Message, error) {
	h := l.started
	return frame.NewMessage(frame.Header{
		Camera: l.cfg.Camera, ID: frame.ID{Epoch: l.epoch}, Status: frame.StatusStarted, PublishedUS: l.cfg.Clock.Now(),
		Previous: &h.previous, Clean: &h.clean,
	}, nil)
}

// seedBound takes what the stream has of earlier starts, or of a copy that Redis was
// restored from, into the stream's bound.
func (l *Log) seedBound(end streamEnd) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.bound.count()
	if l.bound.max == 0 || end.Entries <= known {
		return
	}
	entries, size, before := end.Entries-known, end.Bytes, end.Last.Next()
	if known > 0 {
		before = l.bound.runs[0].last
	}
	for _, s := range l.ledger.losses { // one entry stands for all of them
		if s.first.Less(before) && !s.last.Less(before) {
			before = s.first
		}
	}
	spans := l.sentBefore(before)
	if len(spans) == 0 && known > 0 { // a copy that has frames where we know of a declaration
		spans, entries, size = l.sentBefore(end.Last.Next()), end.Entries, l.bound.bytes/known-entryOverhead
		l.bound.runs, l.bound.bytes = nil, 0
	}
	if len(spans) == 0 { // nothing is known of them: they go first
		spans = []span{{before, before}}
	}
	l.bound.seed(spans, entries, size)
}

// sentBefore lists the IDs below one that were sent, and not trimmed.
func (l *Log) sentBefore(before frame.ID) (spans []span) {
	for _, s := range l.ledger.above(frame.ID{}) {
		if sent := l.ledger.sent(s.first.Epoch); sent.Less(s.last) {
			s.last = sent
		}
		if s.first.Epoch == before.Epoch && !s.last.Less(before) {
			s.last.Seq = max(before.Seq, 1) - 1
		}
		if s.first.Epoch <= before.Epoch && !s.last.Less(s.first) {
			spans = append(spans, s)
		}
	}
	return spans
}

// floor is below what the stream has been trimmed.
func (l *Log) floor() frame.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ledger.floor
}

// halfBound is below what half of the stream is.
func (l *Log) halfBound() frame.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bound.half()
}

// trimmed notes that the stream has nothing below floor any more.
func (l *Log) trimmed(floor frame.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.raiseFloor(floor)
	l.settle()
}

// knows reports whether the ledger has the IDs of the stream's entries up to last.
func (l *Log) knows(last frame.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, known := l.ledger.find(last.Epoch)
	return known && (!l.ledger.floor.IsZero() || last.Epoch == l.epoch)
}

// found notes an entry of an earlier epoch that the stream has.
func (l *Log) found(id frame.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id.Epoch < l.epoch {
		l.ledger.found(id)
	}
}

// foundFloor notes the stream's first entry. Where the journal knows of entries before it,
// beyond its own floor, they may be lost as well as trimmed by somebody else: they are
// declared then.
func (l *Log) foundFloor(id frame.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.ledger.epochs {
		if e.number < id.Epoch && e.sent > 0 {
			return
		}
	}
	l.ledger.raiseFloor(id)
}

// fill adds a lost run for everything that was given above last and is not there.
func (l *Log) fill(last frame.ID) {
	var filled list
	rest := l.items[l.delivered:]
	for _, s := range l.ledger.above(last) {
		if l.elsewhere(s.first.Epoch, rest) {
			continue
		}
		next := s.first
		for len(rest) > 0 && !s.last.Less(rest[0].first) {
			e := rest[0]
			if e.first.Epoch == next.Epoch && next.Less(e.first) {
				filled = l.appendLost(filled, next, frame.ID{Epoch: next.Epoch, Seq: e.first.Seq - 1})
			}
			next = frame.Later(next, e.id.Next())
			filled, rest = append(filled, e), rest[1:]
		}
		if !s.last.Less(next) {
			filled = l.appendLost(filled, next, s.last)
		}
	}
	l.items = append(append(l.items[:l.delivered:l.delivered], filled...), rest...)
}

// appendLost appends lost runs, each with its reason; what was not counted as lost
// before is counted now.
func (l *Log) appendLost(to list, first, last frame.ID) list {
	for !last.Less(first) {
		reason, end := l.ledger.reasonOf(first, last)
		if reason == "" {
			reason = reasonRestart
			if sent := l.ledger.sent(first.Epoch); !sent.Less(first) {
				reason = reasonRedisLost
				if sent.Less(end) {
					end = sent
				}
			}
			l.countLoss(reason, end.Seq-first.Seq+1)
			l.ledger.addLoss(first, end, reason)
		}
		to = append(to, lostRun(first, end, reason))
		first = end.Next()
	}
	return to
}
