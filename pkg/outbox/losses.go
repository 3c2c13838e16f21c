package outbox

import (
	"maps"
	"slices"

	"framekeeper/pkg/spool"
)

// Why frames are lost that the spool has nothing to do with.
const (
	reasonMemory     = "the agent's memory was full while Redis took no frames"
	reasonUnheard    = "nobody listened, and the agent's memory holds the newest only"
	reasonForgotten  = "Redis lost them and the agent no longer held them"
	reasonRestart    = "not on disk after a restart"
	reasonUnreadable = "its file was unreadable"
	reasonGone       = "the spool gave it up"
)

// lossKinds are the reasons in one word, for metrics.
var lossKinds = map[string]string{ //nolint:gochecknoglobals // a constant table
	reasonMemory:        "memory_full",
	reasonUnheard:       "unheard",
	reasonForgotten:     "redis_lost",
	reasonRestart:       "restart",
	reasonUnreadable:    "damaged",
	reasonGone:          "spool_full",
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

// Losses counts the frames given up since the start, by kind. Unlike
// Stats.Dropped it never falls: a frame that is read back after all, or
// was in Redis already, stays counted.
func (o *Log) Losses() map[string]uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.losses)
}

// countLoss notes n frames given up. The caller holds mu.
func (o *Log) countLoss(reason string, n uint64) {
	if kind, known := lossKinds[reason]; known {
		o.losses[kind] += n
	}
}
