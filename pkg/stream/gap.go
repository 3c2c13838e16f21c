package stream

import (
	"context"

	"framekeeper/pkg/frame"
)

// gap is what is missing before an entry, as far as the entry tells: IDs of its own
// epoch, and of an earlier one, whose end a "started" entry names.
type gap struct {
	own     run
	earlier uint64 // an epoch
	end     run    // of that one
	open    bool   // it has the end of an epoch too, which nothing names
}

func (g *gap) missing() uint64 { return g.own.size() + g.end.size() }

// covered is the first of the IDs that an entry stands for.
func covered(id frame.ID, h *frame.Header) uint64 {
	if h.Status == frame.StatusDropped && h.First.Epoch == id.Epoch && h.First.Less(id) {
		return max(h.First.Seq, 1)
	}
	return id.Seq
}

// gapBefore compares an entry with what was passed before it.
func (l ledger) gapBefore(mark, id frame.ID, h *frame.Header) (g gap) {
	g.own, g.end = above(0, 0), above(0, 0)
	last := max(covered(id, h), 1) - 1
	if p := l[id.Epoch]; p != nil {
		g.own = above(p.high, last)
	} else if !mark.IsZero() {
		g.own = above(0, last)
	}
	g.open = !mark.IsZero() && mark.Epoch != id.Epoch && !l.passed(id)
	if h.Status != frame.StatusStarted || h.Previous == nil || h.Previous.Epoch >= id.Epoch {
		return g
	}
	g.open = g.open && mark.Epoch < h.Previous.Epoch // else nothing came after the watermark, or it is named
	g.earlier = h.Previous.Epoch
	if p := l[g.earlier]; p != nil {
		g.end = above(p.high, h.Previous.Seq)
	} else if !mark.IsZero() && mark.Less(*h.Previous) {
		g.end = above(0, h.Previous.Seq)
	}
	return g
}

// wasTrimmed reports whether what is missing between the watermark and a reply's first
// entry was removed from the stream's start. It fails with errAgain when entries were
// added there since the reply, as after the stream vanished.
func wasTrimmed(ctx context.Context, s Source, mark, id frame.ID) (bool, error) {
	oldest, err := s.First(ctx)
	switch {
	case err != nil:
		return false, err
	case oldest.IsZero() || !oldest.Less(id): // or all of it was removed meanwhile
		return true, nil
	case mark.Less(oldest):
		return false, errAgain
	}
	next, err := s.Read(ctx, mark, 1, 0)
	if err == nil && len(next) > 0 && next[0].ID != id {
		err = errAgain
	}
	return false, err
}

// pass moves the watermark over an entry and the gap before it.
func (c *Consumer) pass(id frame.ID, g gap, h *frame.Header, damaged bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, l := &c.stats, c.passages
	lost, end := undeclared, undeclared
	if c.trimmed {
		lost = trimmed
	}
	if p := l[g.earlier]; p != nil && p.unknown {
		end = uncounted
	} else if c.trimmed {
		end = trimmed
	}
	if lost == undeclared && c.isBefore(id.Epoch, g.own) {
		lost = uncounted
	}
	if end == undeclared && c.isBefore(g.earlier, g.end) {
		end = uncounted
	}
	if lost == undeclared && g.own.size() > 0 || end == undeclared && g.end.size() > 0 {
		c.log.Error().Stringer("after", s.Watermark).Stringer("before", id).Uint64("frames", g.missing()).
			Msg("Frames are missing from the stream and were not declared lost")
	}
	unclean := h.Status == frame.StatusStarted && h.Clean != nil && !*h.Clean
	if unclean {
		s.UncleanStart++
	}
	if unclean && len(l) > 0 || g.open && c.trimmed {
		s.Unknown++
		if p := l[s.Watermark.Epoch]; p != nil && s.Watermark.Epoch < id.Epoch {
			p.unknown = true
		}
	}
	first := covered(id, h)
	begin := uint64(1) // of the IDs that count
	if s.Watermark.IsZero() {
		begin = max(first, 1)
	}
	l.open(id.Epoch, begin)
	l.count(id.Epoch, g.own.as(lost), s)
	if g.end.size() > 0 {
		l.open(g.earlier, 1)
		l.count(g.earlier, g.end.as(end), s)
	}
	switch {
	case damaged:
		l.count(id.Epoch, run{id.Seq, id.Seq, corrupt}, s)
	case h.Status == frame.StatusDropped:
		l.count(id.Epoch, run{first, id.Seq, declared}, s)
	default:
		l.deliver(id, h.Status, s)
	}
	l.forget(id.Epoch)
	s.Watermark = id
}

// isBefore reports whether IDs are from before this consumer began. It comes to them when
// the stream began anew; what became of them an earlier consumer has counted.
func (c *Consumer) isBefore(epoch uint64, r run) bool {
	return r.size() > 0 && !c.cfg.From.Less(frame.ID{Epoch: epoch, Seq: r.last})
}

// passAgain moves the watermark over an entry that was passed before.
func (c *Consumer) passAgain(id frame.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Watermark = id
	c.stats.Duplicates++
}
