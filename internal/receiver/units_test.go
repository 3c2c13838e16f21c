package receiver

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
)

func TestHistogramIsWithinThreePercent(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var h histogram
	var all []time.Duration
	for range 10000 {
		d := time.Duration(random.ExpFloat64() * float64(20*time.Millisecond)).Truncate(time.Microsecond)
		all = append(all, d)
		h.add(d)
	}
	slices.Sort(all)
	d := h.snapshot()
	for q, want := range map[float64]time.Duration{0: all[0], 0.5: all[4999], 0.99: all[9899], 1: all[9999]} {
		if got := d.quantile(q); (got - want).Abs() > max(want*3/100, time.Microsecond) {
			t.Errorf("quantile %v: got %s, want %s", q, got, want)
		}
	}
	if d.max != all[9999] || d.n != 10000 {
		t.Errorf("max, n: got %s, %d, want %s, 10000", d.max, d.n, all[9999])
	}
}

func TestHistogramEdges(t *testing.T) {
	var h histogram
	empty := h.snapshot()
	if got := empty.quantile(0.5); got != 0 {
		t.Errorf("median of nothing: got %s, want 0", got)
	}
	for _, d := range []time.Duration{-time.Second, 0, 63 * time.Microsecond, 64 * time.Microsecond, 1<<63 - 1} {
		h.add(d)
	}
	d := h.snapshot()
	if got := d.quantile(0.6); got != 63*time.Microsecond {
		t.Errorf("third of five: got %s, want 63µs", got)
	}
	before := h.snapshot()
	h.add(time.Second)
	after := h.snapshot()
	lately := after.since(&before)
	if got := lately.quantile(0.5); lately.n != 1 || (got-time.Second).Abs() > 30*time.Millisecond {
		t.Errorf("since: got %d, %s, want 1, about 1s", lately.n, got)
	}
	for us := int64(0); us < 1<<41; us = us*9/8 + 1 {
		d := time.Duration(us) * time.Microsecond
		if m := middle(bucket(d)); us < 1<<40 && (m-d).Abs() > d/32 {
			t.Errorf("bucket of %s has its middle at %s", d, m)
		}
	}
}

func TestQueueDropsWhatDoesNotFit(t *testing.T) {
	s := &storer{counts: &counts{}}
	m, err := frame.NewMessage(frame.Header{Camera: "cam", Status: frame.StatusOK}, make([]byte, 100<<20))
	if err != nil {
		t.Fatal(err)
	}
	small, err := frame.NewMessage(frame.Header{Camera: "cam", Status: frame.StatusOK}, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	q := newQueue(3)
	for i, c := range []struct {
		m    *frame.Message
		want bool
	}{{m, true}, {m, true}, {m, false}, {small, true}, {small, false}} { // by bytes, then by count
		if got := q.push(s, c.m); got != c.want {
			t.Errorf("push %d: got %v, want %v", i, got, c.want)
		}
	}
	if q.empty() {
		t.Error("got empty, want three waiting")
	}
	q.abandon()
	if got := s.counts.n[dropped].Load(); got != 3 {
		t.Errorf("abandoned: got %d, want 3", got)
	}
}

func TestFrameWatchLogsEachStopOnce(t *testing.T) {
	var out bytes.Buffer
	now := time.Now()
	w := frameWatch{counts: &counts{}, log: zerolog.New(&out), changed: now}
	check := func(after time.Duration, n uint64) {
		now = now.Add(after)
		w.counts.add(frames, n)
		w.check(now)
	}
	lines := func() int { return strings.Count(out.String(), "\n") }
	check(time.Second, 1)
	check(stoppedAfter, 0)
	if n := lines(); n != 0 {
		t.Errorf("after exactly 2 s: got %d lines, want 0", n)
	}
	for range 10 {
		check(time.Second, 0)
	}
	if n := strings.Count(out.String(), "FPS dropped to 0"); n != 1 || lines() != 1 {
		t.Errorf("while stopped: got\n%s\nwant FPS dropped to 0 once", &out)
	}
	check(time.Second, 5)
	check(time.Second, 5)
	if n := strings.Count(out.String(), "Frames arrive again"); n != 1 || lines() != 2 {
		t.Errorf("after it: got\n%s\nwant one line more", &out)
	}
	if log := out.String(); !strings.Contains(log, `"last_frame_ago_ms":3000,`) || !strings.Contains(log, `"lasted_ms":13000,`) {
		t.Errorf("times: got\n%s\nwant last_frame_ago_ms 3000 and lasted_ms 13000", log)
	}
	check(stoppedAfter+1, 0)
	if n := strings.Count(out.String(), "FPS dropped to 0"); n != 2 {
		t.Errorf("second stop: got %d lines, want 2", n)
	}
}

func TestFrameWatchBeforeTheFirstFrame(t *testing.T) {
	var out bytes.Buffer
	now := time.Now()
	w := frameWatch{counts: &counts{}, log: zerolog.New(&out), changed: now}
	for range 10 {
		now = now.Add(time.Second)
		w.check(now)
	}
	w.counts.add(frames, 1)
	w.check(now)
	log := out.String()
	if strings.Contains(log, "FPS dropped") || strings.Contains(log, "again") ||
		strings.Count(log, "No frame has arrived yet") != 1 || strings.Count(log, "The first frame has arrived") != 1 {
		t.Errorf("got\n%s\nwant that no frame has come yet, then that one has", log)
	}
}

func TestStreamEndAboveTheWatermark(t *testing.T) {
	end := &streamEnd{length: 20, last: []frame.ID{{Epoch: 9, Seq: 2}, {Epoch: 7, Seq: 8}}}
	for mark, want := range map[frame.ID]uint64{
		{Epoch: 9, Seq: 2}: 0, {Epoch: 9, Seq: 9}: 0, {Epoch: 9}: 2, {Epoch: 7, Seq: 8}: 3, {Epoch: 7, Seq: 5}: 6, {}: 12,
	} {
		if got := end.above(mark); got != want {
			t.Errorf("above %s: got %d, want %d", mark, got, want)
		}
	}
	end.length = 4 // the rest is trimmed or was never there
	if got := end.above(frame.ID{}); got != 4 {
		t.Errorf("above nothing: got %d, want 4", got)
	}
}
