package outbox

import (
	"context"
	"io"
	"slices"
	"time"

	"framekeeper/pkg/frame"
)

// simRedis is a Redis server as far as the log and its readers can see one: a stream
// and its last ID, a channel and its subscribers, older copies of the stream, and all
// that can go wrong with them. It outlives every process.
type simRedis struct {
	world *simWorld

	stream  []simEntry // in ID order
	exists  bool
	last    frame.ID    // the stream accepts nothing up to here
	copies  []simStream // older copies: what a replica, or a saved file, has
	members int64       // subscribers of the channel

	halving bool          // the trimming at work is that of an emergency
	up      bool          // it can be connected to
	refuse  error         // the reply to everything that writes the stream; nil: it is accepted
	mute    error         // the reply to PUBLISH; nil: it is accepted
	ceiling int64         // messages of this size end the connection; 0: none does
	cutting int           // of a hundred calls, how many end the session
	killing int           // of a thousand calls, during how many the process is killed
	bytes   int64         // of the stream
	changed time.Duration // when another state was put in its place
}

// simStream is a copy of the stream.
type simStream struct {
	entries []simEntry
	exists  bool
	last    frame.ID
}

// simEntry is an entry of the stream. A stranger's has no message.
type simEntry struct {
	id  frame.ID
	msg *frame.Message
	own int // the life in which it was added
}

func (e simEntry) size() int64 {
	if e.msg == nil {
		return 0
	}
	return int64(e.msg.Size()) + simOverhead
}

// simReply is an error reply of Redis.
type simReply string

func (e simReply) Error() string { return string(e) }

// RedisError makes it a redis.Error.
func (simReply) RedisError() {}

const (
	replyOOM      = simReply("OOM command not allowed when used memory > 'maxmemory'.")
	replyNoPerm   = simReply("NOPERM this user has no permissions to run the 'xadd' command")
	replyReadOnly = simReply("READONLY You can't write against a read only replica.")
	replyMisconf  = simReply("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.")
)

// add is one XADD.
func (r *simRedis) add(e simEntry, create bool) error {
	switch {
	case !r.exists && !create:
		return errVanished
	case !r.last.Less(e.id):
		return errNotAbove
	}
	if !r.exists {
		r.exists, r.last = true, frame.ID{}
	}
	e.own = r.world.lives
	r.stream = append(r.stream, e)
	r.last = e.id
	r.bytes += e.size()
	r.world.ledger.accepted(e)
	return nil
}

// trim removes the entries below floor, as the writer asked for.
func (r *simRedis) trim(floor frame.ID) {
	n, _ := slices.BinarySearchFunc(r.stream, floor, func(e simEntry, id frame.ID) int { return e.id.Compare(id) })
	if n == 0 {
		return
	}
	r.world.ledger.trimmed(r.stream[:n], r.bytes)
	for _, e := range r.stream[:n] {
		r.bytes -= e.size()
	}
	r.stream = slices.Clone(r.stream[n:])
}

// become puts another state in place of the stream: what is not in it is lost.
func (r *simRedis) become(s simStream, how string) {
	r.world.trace.note("redis %s: %d entries up to %s become %d up to %s", how, len(r.stream), r.last, len(s.entries), s.last)
	kept := map[simEntry]bool{} // the same ID may be a frame's in one and a declaration's in the other
	for _, e := range s.entries {
		kept[e] = true
	}
	var lost []simEntry
	for _, e := range r.stream {
		if !kept[e] {
			lost = append(lost, e)
		}
	}
	r.changed = r.world.now
	if r.world.life != nil {
		r.world.life.replaced = true
	}
	r.stream, r.exists, r.last, r.bytes = slices.Clone(s.entries), s.exists, s.last, 0
	for _, e := range r.stream {
		r.bytes += e.size()
	}
	r.world.ledger.lost(lost, r.stream)
}

// state is a copy of the stream as it is.
func (r *simRedis) state() simStream {
	return simStream{entries: slices.Clone(r.stream), exists: r.exists, last: r.last}
}

// save makes an older copy.
func (r *simRedis) save() {
	const copies = 4
	if r.copies = append(r.copies, r.state()); len(r.copies) > copies {
		r.copies = r.copies[1:]
	}
}

// restore is a failover to, or a restart from, an older copy.
func (r *simRedis) restore(rng simRandom) {
	if len(r.copies) > 0 {
		r.become(oneOf(rng, r.copies...), "goes back to a copy")
	}
}

// loseTail is a failover to a replica that was a few entries behind.
func (r *simRedis) loseTail(rng simRandom) {
	if len(r.stream) == 0 {
		return
	}
	s := r.state()
	s.entries = s.entries[:len(s.entries)-rng.IntN(len(s.entries)+1)]
	if s.exists = len(s.entries) > 0; s.exists {
		s.last = s.entries[len(s.entries)-1].id
	} else {
		s.last = frame.ID{}
	}
	r.become(s, "loses its tail")
}

// flush is FLUSHALL, or an eviction of the key.
func (r *simRedis) flush() { r.become(simStream{}, "is flushed") }

// stranger is XADD with an ID of Redis's own by somebody else. One that makes a stream
// anew, between two frames of a session, is not noticed until the next one; and a reader
// of his entries needs 5 s to notice that the stream began anew.
func (r *simRedis) stranger() {
	id := frame.ID{Epoch: uint64(r.world.wall().UnixMilli())} //nolint:gosec // after 1970
	const noticed = 10 * time.Second
	if !r.exists && r.world.life != nil && r.world.life.up() != nil || r.world.now-r.changed < noticed {
		return
	}
	if r.refuse == nil && r.last.Less(id) {
		r.exists, r.last = true, id
		r.stream = append(r.stream, simEntry{id: id})
		r.world.trace.note("redis: a stranger adds %s", id)
	}
}

// foreign reports whether somebody else's entry is in the stream.
func (r *simRedis) foreign() bool {
	return slices.ContainsFunc(r.stream, func(e simEntry) bool { return e.msg == nil })
}

// from is up to n entries at or above an ID.
func (r *simRedis) from(id frame.ID, n int) []simEntry {
	i, _ := slices.BinarySearchFunc(r.stream, id, func(e simEntry, id frame.ID) int { return e.id.Compare(id) })
	return r.stream[i:min(len(r.stream), i+n)]
}

// test is what a session's Accepts finds out.
func (r *simRedis) test(_ context.Context, size int64) (bool, error) {
	if !r.up {
		return false, io.EOF
	}
	return r.ceiling == 0 || size < r.ceiling, nil
}

// publish is PUBLISH: how many had it.
func (r *simRedis) publish(wire []byte) (int64, error) {
	if r.mute != nil {
		r.world.life.muted = true
		return 0, r.mute
	}
	r.world.ledger.published(wire, r.members)
	return r.members, nil
}
