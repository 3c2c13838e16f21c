package stream

import (
	"context"
	"maps"
	"slices"

	"framekeeper/pkg/frame"
)

// maxEpochs bounds how many epochs a consumer remembers for recognising what it
// has seen; each is one start of the agent.
const maxEpochs = 64

// gap is what lies between the watermark and an entry. The missing IDs were
// trimmed, or are undeclared. Unknown is what a start after a kill says of frames
// without an ID (ConsumerStats.UncleanStart).
type gap struct {
	missing  uint64 // IDs that no entry declares lost
	declared uint64 // IDs that the entry itself declares lost
	trimmed  bool   // the missing ones were removed from the stream's start
}

// gapBefore compares an entry with the watermark.
func gapBefore(mark, id frame.ID, h frame.Header) (g gap) {
	first := id // of the IDs the entry stands for
	if h.Status == frame.StatusDropped && h.First.Epoch == id.Epoch && h.First.Less(id) {
		first = h.First
	}
	if !mark.IsZero() {
		next := mark.Next()
		if id.Epoch != mark.Epoch {
			next = frame.ID{Epoch: id.Epoch, Seq: 1}
			g.missing = missedEnd(mark, h)
		}
		if next.Less(first) {
			g.missing += first.Seq - next.Seq
		}
		first = frame.Later(first, next)
	}
	if h.Status == frame.StatusDropped && !id.Less(first) {
		g.declared = id.Seq - first.Seq + 1
	}
	return g
}

// missedEnd counts what is missing of earlier epochs, as far as a "started" entry
// has their end.
func missedEnd(mark frame.ID, h frame.Header) uint64 {
	switch {
	case h.Status != frame.StatusStarted || h.Previous == nil || !mark.Less(*h.Previous):
		return 0
	case h.Previous.Epoch == mark.Epoch:
		return h.Previous.Seq - mark.Seq
	default:
		return h.Previous.Seq
	}
}

// isFirst reports whether an entry is the stream's first, so that what is missing
// before it was trimmed.
func isFirst(ctx context.Context, s Source, id frame.ID) (bool, error) {
	oldest, err := s.First(ctx)
	return oldest.IsZero() || !oldest.Less(id), err // all of it, meanwhile
}

// pass moves the watermark over an entry and the gap before it.
func (c *Consumer) pass(id frame.ID, g gap, count func(*ConsumerStats)) {
	c.seen[id.Epoch] = max(c.seen[id.Epoch], id.Seq)
	if len(c.seen) > maxEpochs {
		delete(c.seen, slices.Min(slices.Collect(maps.Keys(c.seen))))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	mark := c.stats.Watermark
	c.stats.Watermark = id
	c.stats.Declared += g.declared
	count(&c.stats)
	switch {
	case g.missing == 0:
	case g.trimmed:
		c.stats.Trimmed += g.missing
	default:
		c.stats.Undeclared += g.missing
		c.log.Error().Stringer("after", mark).Stringer("before", id).Uint64("frames", g.missing).
			Msg("Frames are missing from the stream and were not declared lost")
	}
}
