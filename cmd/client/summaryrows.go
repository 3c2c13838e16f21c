package main

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

// summaryRows are the lines in their order. requests = answered + errors +
// timeouts; lost is what should have come and did not: requests without any
// answer, and holes in the stream that nothing accounts for.
func summaryRows() []summaryRow {
	return []summaryRow{
		count("requests", func(t *totals) uint64 { return t.requests }),
		count("answered", func(t *totals) uint64 { return t.answered }),
		count("errors", func(t *totals) uint64 { return t.errors }),
		count("timeouts", func(t *totals) uint64 { return t.unanswered() }),
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
		count("declared", func(t *totals) uint64 { return t.declared }),
		count("trimmed", func(t *totals) uint64 { return t.trimmed }),
		count("agent kills", func(t *totals) uint64 { return t.unclean }),
		count("undeclared", func(t *totals) uint64 { return t.undeclared }),
		count("lost", func(t *totals) uint64 { return t.unanswered() + t.undeclared }),
	}
}
