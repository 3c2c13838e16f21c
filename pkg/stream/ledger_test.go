package stream

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/pkg/frame"
)

// account is a test's stream and what is to come of it.
type account struct {
	name string
	from frame.ID
	play func(m *memory)
	got  []string
	want ConsumerStats // Watermark apart
}

var accounts = []account{
	{"a declaration overlaps the watermark", id(90, 20), func(m *memory) {
		m.put(lost(90, 6, 23), startedAfter(100, id(90, 23), true), entry(100, 1))
	}, []string{"dropped 90-6..23", "started 100", "100-1"}, ConsumerStats{Delivered: 1, Declared: 3}},

	{"a declaration spans what was delivered before the stream began anew", frame.ID{}, func(m *memory) {
		m.put(upTo(100, 1, 9)...)
		m.settle()
		m.entries = m.entries[:3] // restored from an older copy
		m.settle()
		m.put(lost(100, 4, 12), entry(100, 13))
	}, []string{"100-1", "100-2", "100-3", "100-4", "100-5", "100-6", "100-7", "100-8", "100-9", "dropped 100-4..12", "100-13"},
		ConsumerStats{Delivered: 10, Declared: 3, Duplicates: 3, Restarts: 1}},

	{"what was delivered is not missing when the stream began anew", frame.ID{}, func(m *memory) {
		m.put(upTo(100, 1, 9)...)
		m.settle()
		m.entries = nil
		m.put(upTo(100, 2, 5)...)
		m.settle()
		m.put(upTo(100, 10, 11)...) // the agent knows that 6 to 9 were read, or the stream lost them
	}, []string{"100-1", "100-2", "100-3", "100-4", "100-5", "100-6", "100-7", "100-8", "100-9", "100-10", "100-11"},
		ConsumerStats{Delivered: 11, Duplicates: 4, Restarts: 1}},

	{"the losses of two earlier epochs come before the start", id(90, 7), func(m *memory) {
		m.put(lost(90, 8, 9), lost(95, 1, 4), startedAfter(100, id(95, 4), true), entry(100, 1))
	}, []string{"dropped 90-8..9", "dropped 95-1..4", "started 100", "100-1"}, ConsumerStats{Delivered: 1, Declared: 6}},

	{"frames of an epoch whose start never reached Redis", id(90, 7), func(m *memory) {
		m.put(entry(90, 7), entry(95, 1), lost(95, 2, 3), startedAfter(100, id(95, 3), false))
	}, []string{"95-1", "dropped 95-2..3", "started 100"}, ConsumerStats{Delivered: 1, Declared: 2, UncleanStart: 1, Unknown: 1}},

	{"epochs between were trimmed", id(90, 7), func(m *memory) {
		m.put(startedAfter(100, id(95, 9), true), entry(100, 1))
	}, []string{"started 100", "100-1"}, ConsumerStats{Delivered: 1, Trimmed: 9, Unknown: 1}},

	{"the start of an epoch was trimmed, and no frame of it", id(90, 7), func(m *memory) {
		m.put(entry(100, 1))
	}, []string{"100-1"}, ConsumerStats{Delivered: 1, Unknown: 1}},

	{"an epoch without a frame, of which nothing is there any more", id(95, 0), func(m *memory) {
		m.put(startedAfter(100, id(90, 7), true), entry(100, 1))
	}, []string{"started 100", "100-1"}, ConsumerStats{Delivered: 1}},

	{"a kill of which the first reader knows nothing", frame.ID{}, func(m *memory) {
		m.put(startedAfter(100, id(90, 7), false), entry(100, 1))
	}, []string{"started 100", "100-1"}, ConsumerStats{Delivered: 1, UncleanStart: 1}},

	{"trimmed, then restored", frame.ID{}, func(m *memory) {
		m.put(upTo(100, 1, 2)...)
		m.settle()
		m.put(upTo(100, 3, 6)...)
		older := slices.Clone(m.entries)
		m.trim(id(100, 6))
		m.put(entry(100, 7))
		m.settle()
		m.entries = older
		m.settle()
	}, []string{"100-1", "100-2", "100-6", "100-7", "100-3", "100-4", "100-5"}, ConsumerStats{Delivered: 7, Duplicates: 3, Restarts: 1}},

	{"restored, and trimmed while it is read again", frame.ID{}, func(m *memory) {
		m.put(entry(90, 1), startedAfter(100, id(90, 1), true), entry(100, 1))
		m.settle()
		m.put(upTo(100, 2, 5)...)
		older := slices.Clone(m.entries)
		m.trim(id(100, 6))
		m.put(entry(100, 6))
		m.settle()
		m.entries, m.reply = older, 1
		for m.consumer.Stats().Watermark != id(90, 1) {
			m.now = m.now.Add(restartWait)
			m.step()
		}
		m.trim(id(100, 4))
	}, []string{"90-1", "started 100", "100-1", "100-6", "100-4", "100-5"}, ConsumerStats{Delivered: 5, Trimmed: 2, Duplicates: 1, Restarts: 1}},

	{"what came before the first entry, restored", frame.ID{}, func(m *memory) {
		m.put(entry(100, 2), entry(100, 4), entry(100, 5))
		m.settle()
		m.entries = nil
		m.put(startedAfter(100, id(90, 1), true), entry(100, 1), entry(100, 2))
	}, []string{"100-2", "100-4", "100-5", "started 100", "100-1"},
		ConsumerStats{Delivered: 4, Undeclared: 1, Duplicates: 1, Restarts: 1}},

	{"undeclared, then there after all", frame.ID{}, func(m *memory) {
		m.put(entry(100, 1), entry(100, 4), entry(100, 7))
		m.settle()
		m.entries = nil
		m.put(entry(100, 1), entry(100, 2), lost(100, 3, 3), entry(100, 4))
		m.settle()
	}, []string{"100-1", "100-4", "100-7", "100-2", "dropped 100-3..3"},
		ConsumerStats{Delivered: 4, Declared: 1, Undeclared: 2, Duplicates: 2, Restarts: 1}},

	{"declared, then there after all, and declared again", frame.ID{}, func(m *memory) {
		m.put(entry(100, 1), lost(100, 2, 4), entry(100, 5))
		m.settle()
		m.entries = nil
		m.put(entry(100, 1), entry(100, 2), entry(100, 3))
		m.settle()
		m.put(lost(100, 2, 4), entry(100, 5))
		m.settle()
	}, []string{"100-1", "dropped 100-2..4", "100-5", "100-2", "100-3"}, ConsumerStats{Delivered: 4, Declared: 1, Duplicates: 3, Restarts: 1}},

	{"corrupt, then whole", frame.ID{}, func(m *memory) {
		m.put(entry(100, 1), entry(100, 2), entry(100, 3))
		m.entries[1].Values = map[string]any{"header": "not JSON"}
		m.settle()
		m.entries = nil
		m.put(entry(100, 2))
		m.settle()
	}, []string{"100-1", "100-3", "100-2"}, ConsumerStats{Delivered: 3, Restarts: 1}},

	{"a stranger's entry, the first of its epoch", id(100, 1), func(m *memory) {
		m.put(entry(100, 1), entry(100, 2), entry(500, 0), entry(501, 0), entry(502, 0))
		m.entries[2].Values = map[string]any{"a": "b"}
		m.settle()
		m.entries = nil
		m.put(entry(100, 2), entry(500, 0), entry(501, 0))
		m.entries[1].Values = map[string]any{"a": "b"}
	}, []string{"100-2", "501-0", "502-0"}, ConsumerStats{Delivered: 3, Corrupt: 1, Duplicates: 3, Restarts: 1}},

	{"entries come back below those that were just read", id(100, 5), func(m *memory) {
		m.put(upTo(100, 8, 9)...)
		m.between = func() { // Read
			m.between = func() { m.entries = nil; m.put(upTo(100, 5, 9)...) } // First
		}
		m.settle()
	}, []string{"100-6", "100-7", "100-8", "100-9"}, ConsumerStats{Delivered: 4}},

	{"a part of them comes back", id(100, 5), func(m *memory) {
		m.put(upTo(100, 8, 9)...)
		m.between = func() {
			m.between = func() { m.entries = nil; m.put(upTo(100, 7, 9)...) }
		}
		m.settle()
	}, []string{"100-7", "100-8", "100-9"}, ConsumerStats{Delivered: 3, Trimmed: 1}},

	{"an older part comes back below the watermark too", id(100, 5), func(m *memory) {
		m.put(upTo(100, 8, 9)...)
		m.between = func() {
			m.between = func() { m.entries = nil; m.put(upTo(100, 2, 9)...) }
		}
		m.settle()
	}, []string{"100-6", "100-7", "100-8", "100-9"}, ConsumerStats{Delivered: 4}},

	{"the stream is gone before its start is looked at", id(100, 5), func(m *memory) {
		m.put(upTo(100, 8, 9)...)
		m.between = func() { m.between = func() { m.entries = nil } }
		m.step()
		m.put(upTo(100, 9, 10)...)
	}, []string{"100-8", "100-9", "100-10"}, ConsumerStats{Delivered: 3, Trimmed: 2}},

	{"a gap is judged when it is read, however long handling takes", id(100, 1), func(m *memory) {
		m.put(upTo(100, 1, 1)...)
		m.put(upTo(100, 4, 5)...)
		m.fail = true
		m.step()
		m.trim(id(100, 5))
		m.put(entry(100, 6))
	}, []string{"100-4", "100-5", "100-6"}, ConsumerStats{Delivered: 3, Undeclared: 2}},

	{"numbers at their limit", id(100, math.MaxUint64-2), func(m *memory) {
		m.put(entry(100, math.MaxUint64-1), entry(100, math.MaxUint64),
			startedAfter(200, id(100, math.MaxUint64), true), lost(200, 1, math.MaxUint64))
	}, []string{"100-18446744073709551614", "100-18446744073709551615", "started 200", "dropped 200-1..18446744073709551615"},
		ConsumerStats{Delivered: 2, Declared: math.MaxUint64}},
}

// Whatever becomes of a stream: each frame is handed over once, and every ID is in
// one figure.
func TestEveryIDIsAccountedForOnce(t *testing.T) {
	for _, c := range accounts {
		t.Run(c.name, func(t *testing.T) {
			m := newMemory(t, c.from)
			c.play(m)
			got := m.settle()
			expect(t, m.got, c.got...)
			if c.want.Watermark = got.Watermark; got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
			const missing = "Frames are missing from the stream and were not declared lost"
			if logged := testkit.Count(m.out.Messages(), missing) > 0; logged != (c.want.Undeclared > 0) {
				t.Errorf("logged that frames are missing: %t; stats %+v", logged, got)
			}
		})
	}
}

// An agent that restarts for days leaves many epochs; reading them all again hands
// over none of them twice.
func TestNoEpochIsForgotten(t *testing.T) {
	m := newMemory(t, frame.ID{})
	const starts = 300
	for epoch := uint64(100); epoch < 100+starts; epoch++ {
		m.put(startedAfter(epoch, id(epoch-1, 1), true), entry(epoch, 1))
	}
	m.settle()
	m.entries = m.entries[:2*starts-1]
	s := m.settle()
	if len(m.got) != 2*starts || s.Delivered != starts || s.Duplicates != 2*starts-1 || s.Restarts != 1 {
		t.Errorf("%d entries were handed over of %d, %+v; want each once", len(m.got), 2*starts, s)
	}
}

// What a later start names as an epoch's end is no hole where an earlier start has
// said already that it is unknown.
func TestAnEndThatWasUnknownIsNotUndeclared(t *testing.T) {
	c := NewConsumer(ConsumerConfig{FromStart: true, Handle: func(context.Context, *frame.Message) error { return nil }, Log: zerolog.Nop()})
	pass := func(h frame.Header) {
		g := c.passages.gapBefore(c.stats.Watermark, h.ID, &h)
		c.pass(h.ID, g, &h, false)
	}
	pass(ok(1))
	pass(startedAfter(200, frame.ID{}, false))
	pass(startedAfter(300, id(100, 3), false))
	if s := c.Stats(); s.Undeclared != 0 || s.Unknown == 0 {
		t.Errorf("got %+v, want an unknown end and nothing undeclared", s)
	}
}
