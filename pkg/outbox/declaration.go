package outbox

import (
	"maps"
	"slices"
	"strings"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/spool"
)

// declaration stands in the log for lost frames: a run of IDs of one epoch.
type declaration struct {
	first, last frame.ID
	reason      string

	unsent frame.ID // the first of them that Redis never had; zero if it had all
	inward frame.ID // the last one that an entry on its way to Redis declares
}

// message is the declaration as an entry of the stream.
func (d *declaration) message(camera string, clock *frame.Clock) (*frame.Message, error) {
	return frame.NewMessage(frame.Header{
		Camera: camera, ID: d.last, Status: frame.StatusDropped,
		First: d.first, Last: d.last, Count: d.last.Seq - d.first.Seq + 1,
		Reason: d.reason, PublishedUS: clock.Now(),
	}, nil)
}

// Reasons for losses that the spool has nothing to do with.
const (
	reasonMemory      = "memory was full (retain_bytes) while Redis accepted no frames"
	reasonNoReceivers = "the channel had no subscriber, and memory has room for the newest frames only"
	reasonRedisLost   = "Redis lost them, and they were not in memory any more"
	reasonRestart     = "not on disk after a restart"
	reasonUnreadable  = "its file was unreadable"
	reasonSpool       = "the spool dropped it"
)

// lossKinds are the reasons in one word, for metrics.
var lossKinds = map[string]string{ //nolint:gochecknoglobals // a constant table
	reasonMemory:        "memory_full",
	reasonNoReceivers:   "unheard",
	reasonRedisLost:     "redis_lost",
	reasonRestart:       "restart",
	reasonUnreadable:    "damaged",
	reasonSpool:         "spool_full",
	spool.ReasonFull:    "spool_full",
	spool.ReasonAge:     "spool_age",
	spool.ReasonDisk:    "disk_full",
	spool.ReasonDamaged: "damaged",
	spool.ReasonRefused: "disk_error",
}

// LossKinds are all the words Losses uses.
func LossKinds() []string {
	return slices.Compact(slices.Sorted(maps.Values(lossKinds)))
}

// Losses counts the frames lost since the start, by kind. Unlike Stats.Dropped it
// never falls: a frame that is read back after all, or was in Redis already, stays
// counted.
func (l *Log) Losses() map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.losses)
}

// countLoss counts n lost frames. The caller has mu, as for all below.
func (l *Log) countLoss(reason string, n uint64) {
	if kind, known := lossKinds[reason]; known {
		l.losses[kind] += n
	}
}

// drop makes a declaration of an unsent frame.
func (l *Log) drop(e *Item, reason string) {
	l.stats.Dropped++
	l.countLoss(reason, 1)
	e.file = frame.ID{}
	e.lost = &declaration{first: e.id, last: e.id, reason: reason, unsent: e.id}
}

// dropAt drops the unsent frame at index i, evicts it, and joins its declaration
// to those before and after it.
func (l *Log) dropAt(i int, reason string) {
	e := l.unsent.items[i]
	l.drop(e, reason)
	l.unsent.setMessage(e, nil)
	e.payload, e.size = nil, 0
	after := i+1 < len(l.unsent.items) && l.joinDeclarations(i)
	before := i > 0 && l.joinDeclarations(i-1)
	if !before && !after && reason != reasonNoReceivers { // that is logged once, and may last for months
		l.log.Warn().Stringer("first", e.id).Str("reason", reason).Msg("Frames are being lost; the stream declares which ones")
	}
}

// joinDeclarations makes one declaration of the items at i and i+1, if both are.
func (l *Log) joinDeclarations(i int) bool {
	a, b := l.unsent.items[i], l.unsent.items[i+1]
	if a.lost == nil || b.lost == nil || a.id.Epoch != b.id.Epoch || !l.inFlight.Less(a.id) {
		return false
	}
	joined := &declaration{
		first: a.lost.first, last: b.lost.last, reason: joinReasons(a.lost.reason, b.lost.reason),
		unsent: a.lost.unsent, inward: frame.Later(a.lost.inward, b.lost.inward),
	}
	if joined.unsent.IsZero() {
		joined.unsent = b.lost.unsent
	}
	b.lost = joined
	l.unsent.remove(i)
	return true
}

func joinReasons(a, b string) string {
	const enough = 200
	if strings.Contains(a, b) || len(a) > enough {
		return a
	}
	return a + "; " + b
}

// declareMissing declares what is missing between the stream's last entry and the
// first unsent item.
func (l *Log) declareMissing(last frame.ID) {
	head := frame.ID{Epoch: l.epoch, Seq: l.next}
	if e := l.unsent.head(); e != nil {
		head = e.first()
	}
	first := last.Next()
	if last.Epoch != head.Epoch {
		if head.Epoch != l.epoch {
			return // frames of an earlier start: its losses are not recorded
		}
		first = frame.ID{Epoch: l.epoch, Seq: 1}
	}
	if !first.Less(head) {
		return
	}
	l.countLoss(reasonRedisLost, head.Seq-first.Seq)
	l.unsent.pushFront(newDeclaration(first, head, reasonRedisLost))
}

// newDeclaration is an item that declares the frames from first up to, but not
// including, end.
func newDeclaration(first, end frame.ID, reason string) *Item {
	last := frame.ID{Epoch: end.Epoch, Seq: end.Seq - 1}
	return &Item{id: last, lost: &declaration{first: first, last: last, reason: reason}}
}

// declared accounts for a declaration when Redis has everything up to id: the
// declaration itself, or the frames, dropped while their batch was on its way.
func (l *Log) declared(d *declaration, id frame.ID) {
	if !d.inward.IsZero() && !id.Less(d.inward) {
		l.log.Warn().Stringer("first", d.first).Stringer("last", d.inward).Msg("Lost frames are declared in the stream")
	}
	if d.unsent.IsZero() {
		return
	}
	first, last := frame.Later(frame.Later(d.first, d.unsent), d.inward.Next()), d.last
	if id.Less(last) {
		last = id
	}
	if !last.Less(first) && last.Epoch == first.Epoch {
		n := last.Seq - first.Seq + 1
		l.stats.Sent += n
		l.stats.Dropped -= n
	}
}
