package client

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// totals are the figures of one feed, or of all together.
type totals struct {
	requests, answered, errors, timeouts, skipped, wrong, malformed uint64
	frames, stored, storedBytes, duplicates                         uint64
	corrupt, failed, dropped                                        uint64
	delivered, declared, trimmed, undeclared, unclean               uint64
	early, left                                                     uint64
	endUnknown                                                      bool   // left is not known
	handled, claimed, refused, poisoned                             uint64 // with --group
	latency                                                         distribution
}

func (f *feed) totals() totals {
	c := &f.counts
	t := totals{
		answered: c.answers.Load(), errors: c.errors.Load(), timeouts: c.timeouts.Load(),
		skipped: c.skipped.Load(), wrong: c.wrong.Load(), malformed: c.malformed.Load(),
		frames: c.frames.Load(), stored: c.stored.Load(), storedBytes: c.storedBytes.Load(), duplicates: c.duplicates.Load(),
		corrupt: c.corrupt.Load(), failed: c.failed.Load(), dropped: c.dropped.Load(),
		latency: f.latency.snapshot(),
	}
	if f.seen.Load() { // of one that never says anything every request is lost
		t.early = c.early.Load()
	}
	t.requests = c.requests.Load() // last: it is never below the sum of what came of them
	switch {
	case f.pool != nil:
		s := f.pool.Stats()
		t.handled, t.claimed, t.poisoned, t.declared = s.Handled, s.Claimed, s.SetAside, s.Declared
		t.refused = s.Failed + t.failed
	case f.follower != nil:
		s := f.follower.stats()
		t.delivered = s.Delivered
		t.declared, t.trimmed, t.undeclared, t.unclean = s.Declared, s.Trimmed, s.Undeclared, s.UncleanStart
		t.duplicates += s.Duplicates
		t.corrupt += s.Corrupt // these never reach the store
		t.endUnknown = f.follower.end == nil
		t.left = f.follower.end.above(s.Watermark)
	default:
		t.delivered = t.frames
	}
	return t
}

func (t *totals) add(o *totals) {
	t.requests += o.requests
	t.answered += o.answered
	t.errors += o.errors
	t.timeouts += o.timeouts
	t.skipped += o.skipped
	t.wrong += o.wrong
	t.malformed += o.malformed
	t.frames += o.frames
	t.stored += o.stored
	t.storedBytes += o.storedBytes
	t.duplicates += o.duplicates
	t.corrupt += o.corrupt
	t.failed += o.failed
	t.dropped += o.dropped
	t.delivered += o.delivered
	t.declared += o.declared
	t.trimmed += o.trimmed
	t.unclean += o.unclean
	t.undeclared += o.undeclared
	t.early += o.early
	t.left += o.left
	t.endUnknown = t.endUnknown || o.endUnknown
	t.handled += o.handled
	t.claimed += o.claimed
	t.refused += o.refused
	t.poisoned += o.poisoned
	t.latency.merge(&o.latency)
}

func (r *runner) totals() totals {
	var sum totals
	for _, f := range r.feeds {
		t := f.totals()
		sum.add(&t)
	}
	return sum
}

// allErrors is the live line's one figure for everything that went wrong.
func (t *totals) allErrors() uint64 {
	return t.errors + t.timeouts + t.wrong + t.malformed + t.corrupt + t.failed + t.dropped + t.undeclared
}

// unanswered are requests that came to nothing: timed out, or abandoned at the end.
func (t *totals) unanswered() uint64 { return t.requests - t.answered - t.errors }

// lost is what should have come and did not: requests without any answer, but
// for those made before the camera's agent was there, and holes in the stream
// that nothing accounts for.
func (t *totals) lost() uint64 { return t.unanswered() - min(t.early, t.unanswered()) + t.undeclared }

// summary prints what came of the run: one column for each camera, and one for
// all of them when there are several.
func (r *runner) summary(out io.Writer) error {
	took := r.ended.Sub(r.began)
	var columns []totals
	head := []string{""}
	for _, f := range r.feeds {
		columns = append(columns, f.totals())
		head = append(head, f.cam.Name)
	}
	if len(columns) > 1 {
		columns = append(columns, r.totals())
		head = append(head, "total")
	}
	var b strings.Builder
	row := func(cells []string) {
		fmt.Fprintf(&b, "%-*s", labelWidth, cells[0])
		for i, cell := range cells[1:] {
			fmt.Fprintf(&b, "  %*s", max(12, len(head[i+1])), cell)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "Summary of %s\n", took.Round(100*time.Millisecond))
	row(head)
	for _, line := range r.rows() {
		cells := []string{line.label}
		for i := range columns {
			cells = append(cells, line.cell(&columns[i], took))
		}
		row(cells)
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("print summary: %w", err)
	}
	return nil
}
