package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/pkg/frame"
)

// maxEpochs bounds how many epochs a consumer remembers for recognising what it
// has seen; each is one start of the agent.
const maxEpochs = 64

var errOtherID = errors.New("the header's ID is not the entry's")

// take hands a reply's entries over, one after the other.
func (c *Consumer) take(ctx context.Context, conn *redis.Conn, entries []redis.XMessage) error {
	for i, e := range entries {
		id, err := frame.ParseID(e.ID)
		if err != nil {
			return err
		}
		if seq, ok := c.seen[id.Epoch]; ok && id.Seq <= seq {
			c.passed(id, gap{}, func(s *ConsumerStats) { s.Duplicates++ })
			continue
		}
		if err := c.takeOne(ctx, conn, id, e.Values, i == 0); err != nil {
			return err
		}
	}
	return nil
}

func (c *Consumer) takeOne(ctx context.Context, conn *redis.Conn, id frame.ID, values map[string]any, first bool) error {
	m, damage := frame.ParseEntry(values)
	c.measure(m)
	if damage == nil && m.Header.ID != id {
		damage = errOtherID
	}
	var h frame.Header // of a damaged entry nothing is believed
	if damage == nil {
		h = m.Header
	}
	g := gapBefore(c.Stats().Watermark, id, h)
	if g.missing > 0 && first { // only before a reply's first entry can something have been trimmed
		var err error
		if g.trimmed, err = c.trimmed(ctx, conn, id); err != nil {
			return err
		}
	}
	if damage != nil {
		c.cfg.Log.Error().Stringer("id", id).Err(damage).Msg("stream entry is unreadable, passing over it")
		c.passed(id, g, func(s *ConsumerStats) { s.Corrupt++ })
		return nil
	}
	if err := c.handle(ctx, m); err != nil {
		return err
	}
	c.passed(id, g, func(s *ConsumerStats) {
		switch {
		case h.Status == frame.StatusOK:
			s.Delivered++
		case h.Status == frame.StatusStarted && h.Clean != nil && !*h.Clean:
			s.UncleanStart++
		}
	})
	return nil
}

// measure takes the mean size of frames; other entries have no image.
func (c *Consumer) measure(m *frame.Message) {
	if m == nil || len(m.Image()) == 0 {
		return
	}
	n := float64(len(m.Image()))
	if c.mean == 0 {
		c.mean = n
	}
	c.mean += (n - c.mean) / 8
}

// handle hands one entry over until it is taken.
func (c *Consumer) handle(ctx context.Context, m *frame.Message) error {
	for failed := false; ; failed = true {
		err := c.cfg.Handle(ctx, m)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !failed {
			c.cfg.Log.Error().Stringer("id", m.Header.ID).Err(err).Msg("frame could not be handled, trying again every second")
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// gap is what lies between the watermark and an entry.
type gap struct {
	missing  uint64 // IDs nobody speaks of
	declared uint64 // IDs the entry itself declares lost
	trimmed  bool   // the missing ones were cut off the stream's start
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

// missedEnd counts what is missing of earlier epochs, as far as a "started"
// entry knows their end.
func missedEnd(mark frame.ID, h frame.Header) uint64 {
	if h.Status != frame.StatusStarted || h.Previous == nil || !mark.Less(*h.Previous) {
		return 0
	}
	if h.Previous.Epoch == mark.Epoch {
		return h.Previous.Seq - mark.Seq
	}
	return h.Previous.Seq
}

// trimmed reports whether an entry is the stream's first, so that what is
// missing before it was cut off.
func (c *Consumer) trimmed(ctx context.Context, conn *redis.Conn, id frame.ID) (bool, error) {
	first, err := conn.XRangeN(ctx, c.cfg.Key, "-", "+", 1).Result()
	if err != nil {
		return false, fmt.Errorf("read first entry of %s: %w", c.cfg.Key, err)
	}
	if len(first) == 0 {
		return true, nil // all of it, meanwhile
	}
	oldest, err := frame.ParseID(first[0].ID)
	return !oldest.Less(id), err
}

// passed moves the watermark over an entry, together with what it tells.
func (c *Consumer) passed(id frame.ID, g gap, count func(*ConsumerStats)) {
	c.seen[id.Epoch] = max(c.seen[id.Epoch], id.Seq)
	if len(c.seen) > maxEpochs {
		oldest := id.Epoch
		for epoch := range c.seen {
			oldest = min(oldest, epoch)
		}
		delete(c.seen, oldest)
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
		c.cfg.Log.Error().Stringer("after", mark).Stringer("before", id).Uint64("frames", g.missing).
			Msg("frames are missing from the stream and nobody declared them lost")
	}
}
