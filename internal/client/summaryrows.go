package client

import (
	"fmt"
	"strconv"
	"time"
)

// summaryRow is one line of the summary.
type summaryRow struct {
	label string
	cell  func(t *totals, took time.Duration) string
}

func count(label string, of func(*totals) uint64) summaryRow {
	return summaryRow{label, func(t *totals, _ time.Duration) string { return strconv.FormatUint(of(t), 10) }}
}

func quantile(label string, of func(*distribution) time.Duration) summaryRow {
	return summaryRow{label, func(t *totals, _ time.Duration) string {
		if t.latency.n == 0 {
			return "-"
		}
		return milliseconds(of(&t.latency))
	}}
}

// commonRows are there however frames come. requests = answered + errors +
// timeouts; those of the timeouts that are "too early" were made before the
// camera's agent was first heard of, and are not lost.
func commonRows() []summaryRow {
	return []summaryRow{
		count("requests", func(t *totals) uint64 { return t.requests }),
		count("answered", func(t *totals) uint64 { return t.answered }),
		count("errors", func(t *totals) uint64 { return t.errors }),
		count("timeouts", func(t *totals) uint64 { return t.unanswered() }),
		count("too early", func(t *totals) uint64 { return t.early }),
		count("skipped", func(t *totals) uint64 { return t.skipped }),
		count("wrong", func(t *totals) uint64 { return t.wrong }),
		count("frames", func(t *totals) uint64 { return t.frames }),
		{"fps", func(t *totals, took time.Duration) string {
			return fmt.Sprintf("%.1f", float64(t.frames)/max(took.Seconds(), 0.001))
		}},
		quantile("latency p50", func(d *distribution) time.Duration { return d.quantile(0.5) }),
		quantile("latency p99", func(d *distribution) time.Duration { return d.quantile(0.99) }),
		quantile("latency max", func(d *distribution) time.Duration { return d.max }),
		count("stored", func(t *totals) uint64 { return t.stored }),
		{"stored MiB", func(t *totals, _ time.Duration) string { return fmt.Sprintf("%.1f", float64(t.storedBytes)/(1<<20)) }},
		count("duplicates", func(t *totals) uint64 { return t.duplicates }),
		count("corrupt", func(t *totals) uint64 { return t.corrupt }),
		count("malformed", func(t *totals) uint64 { return t.malformed }),
		count("not stored", func(t *totals) uint64 { return t.dropped }),
	}
}

// streamRows account for the frames of a stream that is read alone. What was
// captured is known as far as the stream tells; kills of the agent may have
// taken more with them.
func streamRows() []summaryRow {
	return []summaryRow{
		count("captured", func(t *totals) uint64 { return t.delivered + t.declared + t.trimmed + t.undeclared }),
		count("delivered", func(t *totals) uint64 { return t.delivered }),
		count("declared", func(t *totals) uint64 { return t.declared }),
		count("trimmed", func(t *totals) uint64 { return t.trimmed }),
		count(unknownLabel, func(t *totals) uint64 { return t.unclean }),
		count("undeclared", func(t *totals) uint64 { return t.undeclared }),
	}
}

// poolRows are entries as this worker of a pool saw them. Holes show only to
// those who read everything, so nothing is said of them.
func poolRows() []summaryRow {
	return []summaryRow{
		count("handled", func(t *totals) uint64 { return t.handled }),
		count("claimed", func(t *totals) uint64 { return t.claimed }),
		count("failed", func(t *totals) uint64 { return t.refused }),
		count("poisoned", func(t *totals) uint64 { return t.poisoned }),
		count("declared", func(t *totals) uint64 { return t.declared }),
	}
}

// leftRow is what the stream still holds for the next run, as far as Redis could
// be asked at the end.
func leftRow() summaryRow {
	return summaryRow{"left in stream", func(t *totals, _ time.Duration) string {
		if t.endUnknown {
			return "-"
		}
		return strconv.FormatUint(t.left, 10)
	}}
}

const (
	unknownLabel = "unknown (agent kills)"
	labelWidth   = len(unknownLabel)
)

// rows are the summary's lines in their order.
func (r *runner) rows() []summaryRow {
	rows := commonRows()
	if len(r.feeds) > 0 && r.feeds[0].pool != nil {
		rows = append(rows, poolRows()...)
	} else {
		rows = append(rows, streamRows()...)
	}
	if len(r.feeds) > 0 && r.feeds[0].follower != nil {
		rows = append(rows, leftRow())
	}
	return append(rows, count("lost", (*totals).lost))
}
