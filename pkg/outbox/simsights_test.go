package outbox

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"framekeeper/pkg/frame"
)

// What the oracle sees of losses, of the channel and of the bounds.

// justified reports whether something has happened to a frame that a declaration may
// give as its reason; one that stands for several frames may give more than one.
func (l *simLedger) justified(x *exposure, reason string) bool {
	return x.dropped ||
		wasMemory(reason) ||
		strings.Contains(reason, reasonRedisLost) && (x.redisLost || x.trimUnsure || x.life < l.world.lives) ||
		strings.Contains(reason, reasonRestart) && x.life < l.world.lives ||
		strings.Contains(reason, "too large") || l.world.redis.ceiling > 0
}

// trimmed notes entries that the writer had removed, out of a stream of so many bytes.
func (l *simLedger) trimmed(removed []simEntry, before int64) {
	var largest, gone int64
	own := true
	for _, e := range removed {
		gone += e.size()
		own = own && e.own == l.world.lives
		if e.msg == nil {
			continue
		}
		if e.msg.Header.Status == frame.StatusDropped {
			l.each(e.msg.Header, func(x *exposure) { x.trimmed = true })
			continue
		}
		if x := l.given[e.id]; x != nil {
			own = own && !x.trimmed // else a copy brought it back that was trimmed before
			x.trimmed, x.present = true, false
			l.trims = append(l.trims, x)
		}
	}
	for _, e := range l.world.redis.stream {
		largest = max(largest, e.size())
	}
	if left := before - gone; own && !l.world.redis.halving && !l.world.life.replaced && left+2*largest+l.world.life.unsure(largest) < l.world.setup.streamMax {
		l.fail("a stream of %d bytes is trimmed to %d, its bound is %d and its largest entry %d", before, left, l.world.setup.streamMax, largest)
	}
}

// simPickle is what stands before a message on the other wire.
const simPickle = "pickled "

// simOverhead is what an entry takes beside its bytes, by the writer's reckoning.
const simOverhead = 256

// bounded checks the size of a stream of this life's entries. Of a batch whose reply
// was lost the sizes may not be known any more.
func (l *simLedger) bounded(r *simRedis) {
	var largest int64
	for _, e := range r.stream {
		if e.own != l.world.lives || l.world.life.replaced || l.world.life.reckons() {
			return
		}
		largest = max(largest, e.size())
	}
	if r.bytes > l.world.setup.streamMax+largest+l.world.life.unsure(largest) && len(r.stream) > 1 {
		l.fail("the stream has %d bytes, its bound is %d and its largest entry %d", r.bytes, l.world.setup.streamMax, largest)
	}
}

// reckons reports whether the bound has entries of earlier starts, whose sizes are guessed.
func (l *simLife) reckons() bool {
	return slices.ContainsFunc(l.log.bound.runs, func(r boundRun) bool { return r.entries != 1 })
}

// unsure is how many bytes of the stream the process may not know the entries of.
func (l *simLife) unsure(largest int64) int64 { return int64(l.lostReplies) * batchItems * largest }

// each is every exposure that a declaration stands for.
func (l *simLedger) each(h frame.Header, f func(*exposure)) {
	for id := h.First; !h.Last.Less(id); id = id.Next() {
		if x := l.given[id]; x != nil && x.id == id {
			f(x)
		}
	}
}

// lost notes entries that Redis lost, and those that it has.
func (l *simLedger) lost(gone, left []simEntry) {
	l.world.counts.lostByRedis += len(gone)
	for _, e := range gone {
		if x := l.given[e.id]; x != nil && e.msg != nil && e.msg.Header.Status == frame.StatusOK {
			x.present, x.redisLost = false, true
		}
	}
	if len(left) == 0 {
		for _, x := range l.all {
			x.unseen = x.unseen || x.accepted
		}
	}
	for _, e := range left {
		if x := l.given[e.id]; x != nil && e.msg != nil && e.msg.Header.Status == frame.StatusOK {
			x.present = x.id == e.id
		}
	}
}

// spoolLost notes what the spool returns as a loss, by the ID of its file.
func (l *simLedger) spoolLost(file frame.ID, reason string) {
	l.world.trace.note("spool loses %s: %s", file, reason)
	l.world.counts.lostByDisk++
	if x := l.given[file]; x != nil {
		x.dropped, x.droppedAt = true, l.world.now
	}
}

// fileLost notes that a power cut took a file that was never synced.
func (l *simLedger) fileLost(file frame.ID) {
	if x := l.given[file]; x != nil {
		x.unknown = true
	}
}

// removed checks that what the log has removed from the spool is in no need of it.
func (l *simLedger) removed(file frame.ID) {
	x := l.given[file]
	if x == nil || x.accepted || x.dropped || l.isDeclared(x) || l.world.heard(x) {
		return
	}
	l.fail("file %s is removed before Redis had its frame", file)
}

func (l *simLedger) isDeclared(x *exposure) bool {
	for _, all := range [][]simDeclared{l.declared, l.onChannel} {
		for _, d := range all {
			if d.covers(x.id) {
				return true
			}
		}
	}
	return false
}

// remembers reports whether a start after this moment knows that a frame was declared,
// even if Redis loses the declaration: the journal was written after it.
func (l *simLedger) remembers(x *exposure, life *simLife) bool {
	for _, all := range [][]simDeclared{l.declared, l.onChannel} {
		for _, d := range all {
			if d.covers(x.id) && (d.at < life.began || d.at+time.Second < life.saved) {
				return true
			}
		}
	}
	return false
}

func (d simDeclared) covers(id frame.ID) bool { return !id.Less(d.first) && !d.last.Less(id) }

// unwrapped is the message of what is published.
func (l *simLedger) unwrapped(wire []byte) *frame.Message {
	if l.world.setup.pickled {
		if !bytes.HasPrefix(wire, []byte(simPickle)) {
			l.fail("what is published is not of the wire: %.40q", wire)
		}
		wire = wire[len(simPickle):]
	}
	m, err := frame.ParseMessage(wire)
	if err != nil {
		l.fail("what is published is no message: %v", err)
	}
	return m
}

// tried notes what is on its way to the channel.
func (l *simLedger) tried(wire []byte) {
	if m := l.unwrapped(wire); m.Header.Status == frame.StatusOK {
		l.content(m).tried = true
	}
}

// published notes what the channel carried.
func (l *simLedger) published(wire []byte, members int64) {
	m := l.unwrapped(wire)
	h := m.Header
	l.world.trace.note("redis: PUBLISH %s %s to %d", h.Status, h.ID, members)
	if id := h.RequestID(); id != "" {
		l.answered[id]++
	}
	switch h.Status {
	case frame.StatusDropped:
		l.declares(h)
		if members > 0 {
			l.onChannel = append(l.onChannel, simDeclared{h.First, h.Last, h.Reason, l.world.now})
		}
	case frame.StatusOK:
		x := l.content(m)
		if was, again := l.heardOf[x.n]; again && was != h.ID && l.world.setup.mode == ModePubSub {
			l.fail("frame %d is published as %s and as %s", x.n, was, h.ID)
		}
		if members > 0 {
			l.heardOf[x.n] = h.ID
		}
	}
}

// fsynced counts a sync of the journal.
func (l *simLedger) fsynced() { l.fsyncs = append(l.fsyncs, l.world.now) }

// sparing checks how often the journal was synced: 60 times an hour, and 3 times a
// start, in every hour.
func (l *simLedger) sparing() {
	begin := 0
	for i, at := range l.fsyncs {
		for at-l.fsyncs[begin] > time.Hour {
			begin++
		}
		starts := 0
		for _, s := range l.starts {
			if s <= at && at-s <= time.Hour {
				starts++
			}
		}
		if n := i - begin + 1; n > 60+3*starts {
			l.fail("%d syncs of the journal in an hour with %d starts", n, starts)
		}
	}
}
