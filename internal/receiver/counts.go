package receiver

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// counter is one figure of a run. Those up to dropped are counted here, the
// others by the stream's consumer.
type counter int

const (
	requests counter = iota
	answered
	errorReplies
	timeouts
	early // unanswered requests from before the camera's agent was there
	skipped
	wrong // answers that do not echo what was asked
	frames
	stored
	storedBytes
	duplicates
	corrupt
	oversized  // larger than images_max_bytes
	unstorable // no image of this camera
	malformed  // published messages that are none of this camera's
	storeFailures
	dropped // arrived faster than they could be stored

	delivered
	declared
	trimmed
	unknown
	undeclared
	left
	handled
	claimed
	refused
	poisoned

	counters // how many there are
)

// counts are the growing figures of one camera. Any goroutine may add.
type counts struct {
	n       [counters]atomic.Uint64
	seen    atomic.Bool // the camera's agent has published something since the run began
	latency histogram
}

func (c *counts) add(i counter, n uint64) { c.n[i].Add(n) }

// totals are the figures of one camera, or of all together, at one instant.
type totals struct {
	n           [counters]uint64
	leftUnknown bool
	latency     distribution
}

func (c *cameraReceiver) totals() totals {
	t := totals{latency: c.counts.latency.snapshot()}
	for i := range counters { // requests last: they are never below the sum of what came of them
		i = counters - 1 - i
		t.n[i] = c.counts.n[i].Load()
	}
	if !c.counts.seen.Load() { // of an agent that never publishes anything every request is lost
		t.n[early] = 0
	}
	switch {
	case c.group != nil:
		s := c.group.Stats()
		t.n[handled], t.n[claimed], t.n[poisoned] = s.Handled, s.Claimed, s.SetAside
		t.n[declared], t.n[trimmed] = s.Declared, s.Trimmed
		if t.leftUnknown = c.pending == nil; c.pending != nil {
			t.n[left] = *c.pending
		}
		t.n[refused] = s.Failed + t.n[storeFailures]
	case c.reader != nil:
		s := c.reader.stats()
		t.n[delivered], t.n[declared], t.n[trimmed] = s.Delivered, s.Declared, s.Trimmed
		t.n[undeclared], t.n[unknown] = s.Undeclared, s.Unknown
		t.n[duplicates] += s.Duplicates
		t.n[corrupt] += s.Corrupt // these never reach the store
		t.leftUnknown = c.reader.end == nil
		t.n[left] = c.reader.end.above(s.Watermark)
	default:
		t.n[delivered] = t.n[frames]
	}
	return t
}

func (t *totals) add(o *totals) {
	for i, n := range o.n {
		t.n[i] += n
	}
	t.leftUnknown = t.leftUnknown || o.leftUnknown
	t.latency.merge(&o.latency)
}

func (r *Receiver) totals() totals {
	var sum totals
	for _, c := range r.cameras {
		t := c.totals()
		sum.add(&t)
	}
	return sum
}

// troubles is the live line's one figure for everything that went wrong.
func (t *totals) troubles() (sum uint64) {
	for _, i := range []counter{errorReplies, timeouts, wrong, malformed, corrupt, oversized, unstorable, storeFailures, dropped, trimmed, undeclared} {
		sum += t.n[i]
	}
	return sum
}

// unanswered are requests that came to nothing: timed out, or abandoned at the end.
func (t *totals) unanswered() uint64 { return t.n[requests] - t.n[answered] - t.n[errorReplies] }

// lossReasons are why a frame that the agent gave was not stored, in words that follow
// a number. What the agent itself lost is declared, and no loss of the client's.
var lossReasons = []struct { //nolint:gochecknoglobals // a constant table
	counter counter
	words   string
}{
	{undeclared, "holes in the stream"},
	{trimmed, "trimmed from the stream before they were stored"},
	{corrupt, "damaged"},
	{oversized, "larger than images_max_bytes"},
	{unstorable, "no images of this camera"},
	{dropped, "came faster than they could be stored"},
}

// missed are requests without any answer, but for those made before the camera's
// agent was there.
func (t *totals) missed() uint64 { return t.unanswered() - min(t.n[early], t.unanswered()) }

// lost is what should have come or been stored and was not, whatever the reason.
func (t *totals) lost() uint64 {
	n := t.missed()
	for _, r := range lossReasons {
		n += t.n[r.counter]
	}
	return n
}

// losses are the reasons of lost, each with its number.
func (t *totals) losses() string {
	var all []string
	if n := t.missed(); n > 0 {
		all = append(all, fmt.Sprintf("%d requests without an answer", n))
	}
	for _, r := range lossReasons {
		if n := t.n[r.counter]; n > 0 {
			all = append(all, fmt.Sprintf("%d %s", n, r.words))
		}
	}
	return strings.Join(all, ", ")
}

// row is one line of the summary. Its value is a whole number, a number with one
// digit after the point, a latency, or nil for an unknown one.
type row struct {
	label string
	value func(t *totals, took time.Duration) any
}

// key is the row's label as a key of JSON.
func (r row) key() string {
	key, _, _ := strings.Cut(r.label, " (")
	return strings.ReplaceAll(strings.ToLower(key), " ", "_")
}

func (r row) cell(t *totals, took time.Duration) string {
	switch v := r.value(t, took).(type) {
	case uint64:
		return strconv.FormatUint(v, 10)
	case float64:
		return fmt.Sprintf("%.1f", v)
	case latency:
		return v.String()
	}
	return "-"
}

const unknownLabel = "unknown (open gaps)" // the longest one

// rows are the summary's lines in their order. requests = answered + errors +
// timeouts; those of the timeouts that are "too early" were made before the
// camera's agent was there, and are not lost.
//
// A stream that is read alone is accounted for: what was captured is known as far
// as the stream accounts for it, but for gaps of unknown length: a kill of the agent,
// or the end of an epoch that was trimmed. Of a consumer group one consumer sees its
// share only, and no holes.
func (r *Receiver) rows() []row {
	count := func(label string, i counter) row {
		return row{label, func(t *totals, _ time.Duration) any { return t.n[i] }}
	}
	sum := func(label string, of func(t *totals) uint64) row {
		return row{label, func(t *totals, _ time.Duration) any { return of(t) }}
	}
	remains := func(label string) row {
		return row{label, func(t *totals, _ time.Duration) any {
			if t.leftUnknown {
				return nil
			}
			return t.n[left]
		}}
	}
	quantile := func(label string, of func(d *distribution) time.Duration) row {
		return row{label, func(t *totals, _ time.Duration) any {
			if t.latency.n == 0 {
				return nil
			}
			return latency(of(&t.latency))
		}}
	}
	rows := []row{
		count("requests", requests),
		count("answered", answered),
		count("errors", errorReplies),
		sum("timeouts", (*totals).unanswered),
		count("too early", early),
		count("skipped", skipped),
		count("wrong", wrong),
		count("frames", frames),
		{"fps", func(t *totals, took time.Duration) any { return float64(t.n[frames]) / max(took.Seconds(), 0.001) }},
		quantile("latency p50", func(d *distribution) time.Duration { return d.quantile(0.5) }),
		quantile("latency p99", func(d *distribution) time.Duration { return d.quantile(0.99) }),
		quantile("latency max", func(d *distribution) time.Duration { return d.max }),
		count("stored", stored),
		{"stored MiB", func(t *totals, _ time.Duration) any { return float64(t.n[storedBytes]) / (1 << 20) }},
		count("duplicates", duplicates),
		count("corrupt", corrupt),
		count("too large", oversized),
		count("unstorable", unstorable),
		count("malformed", malformed),
		count("not stored", dropped),
	}
	if len(r.cameras) > 0 && r.cameras[0].group != nil {
		rows = append(rows, count("handled", handled), count("claimed", claimed), count("failed", refused),
			count("poisoned", poisoned), count("declared", declared), count("trimmed", trimmed), remains("left pending"))
	} else {
		rows = append(rows,
			sum("captured", func(t *totals) uint64 { return t.n[delivered] + t.n[declared] + t.n[trimmed] + t.n[undeclared] }),
			count("delivered", delivered), count("declared", declared), count("trimmed", trimmed),
			count(unknownLabel, unknown), count("undeclared", undeclared))
	}
	if len(r.cameras) > 0 && r.cameras[0].reader != nil {
		rows = append(rows, remains("left in stream"))
	}
	return append(rows, sum("lost", (*totals).lost))
}
