package outbox

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/spool"
)

// Reasons for losses that the spool has nothing to do with.
const (
	reasonMemory      = "memory was full (retain_bytes) while Redis accepted no frames"
	reasonNoReceivers = "the channel had no subscriber, and memory has room for the newest frames only"
	reasonRedisLost   = "Redis lost them, and they were not in memory any more"
	reasonRestart     = "not on disk after a restart"
	reasonUnreadable  = "its file was unreadable"
	reasonSpool       = "the spool dropped it"
	reasonTooLarge    = "Redis, or what is before it, does not accept a message of " // so many bytes
)

// lossKinds are the reasons in one word, for metrics.
var lossKinds = map[string]string{ //nolint:gochecknoglobals // a constant table
	reasonMemory:        "memory_full",
	reasonNoReceivers:   "unheard",
	reasonRedisLost:     "redis_lost",
	reasonRestart:       "restart",
	reasonUnreadable:    "damaged",
	reasonTooLarge:      "too_large",
	spool.ReasonFull:    "spool_full",
	spool.ReasonAge:     "spool_age",
	spool.ReasonDisk:    "disk_full",
	spool.ReasonDamaged: "damaged",
	spool.ReasonRefused: "disk_error",
}

// tooLarge is why a frame that Redis never accepts is lost.
func tooLarge(size int64) string { return fmt.Sprintf("%s%d bytes", reasonTooLarge, size) }

// LossKinds are all the words Losses uses.
func LossKinds() []string {
	return slices.Compact(slices.Sorted(maps.Values(lossKinds)))
}

// countLoss counts n lost frames. The caller has mu, as for all below.
func (l *Log) countLoss(reason string, n uint64) {
	if strings.HasPrefix(reason, reasonTooLarge) {
		reason = reasonTooLarge
	}
	if kind, known := lossKinds[reason]; known {
		l.losses[kind] += n
	}
}

// lostRun is an item that declares the frames from first to last.
func lostRun(first, last frame.ID, reason string) *item {
	return &item{first: first, id: last, place: nowhere, progress: unsent, reason: reason}
}

// declaration is a lost run as an entry of the stream.
func (l *Log) declaration(e *item) (*frame.Message, error) {
	e.declaredTo = e.id
	return frame.NewMessage(frame.Header{
		Camera: l.cfg.Camera, ID: e.id, Status: frame.StatusDropped,
		First: e.first, Last: e.id, Count: e.count(), Reason: e.reason, PublishedUS: l.cfg.Clock.Now(),
	}, nil)
}

// lose gives up a frame that Redis does not have.
func (l *Log) lose(e *item, reason string) {
	l.stats.Dropped++
	l.countLoss(reason, 1)
	l.ledger.addLoss(e.id, e.id, reason)
	l.set(e, nowhere, e.progress)
	e.file, e.reason, e.dropped, e.size = frame.ID{}, reason, e.id, 0
}

// loseAt gives up the frame at index i and joins it to lost ones beside it. It
// returns by how much its index is lower afterwards.
func (l *Log) loseAt(i int, reason string) (lower int) {
	e := l.items[i]
	l.lose(e, reason)
	after := l.join(i)
	before := i > l.delivered && l.join(i-1)
	if !before && !after && reason != reasonNoReceivers && !strings.HasPrefix(reason, reasonTooLarge) { // these are logged once, and may last for months
		l.cfg.Log.Warn().Stringer("first", e.id).Str("reason", reason).Msg("Frames are being lost; the stream declares which ones")
	}
	if before {
		return 1
	}
	return 0
}

// maxApart is how many items a log may have before lost runs with answers between
// them are joined.
const maxApart = 10_000

// join makes one lost run of the items at i and i+1, if both are and neither is on
// its way.
func (l *Log) join(i int) bool {
	if i+1 >= len(l.items) {
		return false
	}
	a, b := l.items[i], l.items[i+1]
	if !a.isLost() || !b.isLost() || a.id.Epoch != b.id.Epoch || a.progress != unsent || b.progress != unsent {
		return false
	}
	between := b.first.Seq - a.id.Seq - 1 // in delivery pubsub, answers
	if between > 0 && len(l.items) < maxApart {
		return false
	}
	if !b.declaredTo.IsZero() && a.declaredTo != a.id {
		return false // Redis may have a as frames, and b as declared
	}
	b.others += a.others + between
	b.first = a.first
	b.reason = joinReasons(a.reason, b.reason)
	b.declaredTo = frame.Later(a.declaredTo, b.declaredTo)
	if !a.dropped.IsZero() {
		b.dropped = a.dropped
	}
	l.items.remove(i)
	return true
}

func joinReasons(a, b string) string {
	const enough = 200
	if strings.Contains(a, b) || len(a) > enough {
		return a
	}
	return a + "; " + b
}

// declared accounts for a lost run that Redis has: as declared, or as the frames
// themselves, which were given up while they were on their way.
func (l *Log) declared(e *item) {
	if !e.declaredTo.IsZero() && !e.declaredTo.Less(e.first) && !strings.HasPrefix(e.reason, reasonTooLarge) { // the ceiling is logged once
		l.cfg.Log.Warn().Stringer("first", e.first).Stringer("last", e.declaredTo).Str("reason", e.reason).Msg("Lost frames are declared in the stream")
	}
	if e.dropped.IsZero() {
		return
	}
	first := frame.Later(frame.Later(e.first, e.dropped), e.declaredTo.Next())
	if first.Epoch == e.id.Epoch && !e.id.Less(first) {
		n := e.id.Seq - first.Seq + 1
		l.stats.Sent += n
		l.stats.Dropped -= n
	}
}
