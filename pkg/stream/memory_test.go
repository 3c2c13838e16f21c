package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/pkg/frame"
)

// memory is a stream in memory, read by a consumer step by step.
type memory struct {
	t        *testing.T
	consumer *Consumer
	now      time.Time
	entries  []Entry
	reply    int    // entries in one
	between  func() // what happens before the source is asked next
	out      testkit.Log

	got  []string // as the consumer handed it over
	fail bool     // the next entry cannot be handled
}

var _ Source = (*memory)(nil)

func newMemory(t *testing.T, from frame.ID) *memory {
	m := &memory{t: t, now: time.Now(), reply: 2}
	m.consumer = NewConsumer(ConsumerConfig{
		From: from, FromStart: true, Handle: m.handle, Now: func() time.Time { return m.now }, Log: zerolog.New(&m.out),
	})
	return m
}

func (m *memory) handle(_ context.Context, got *frame.Message) error {
	if m.fail {
		m.fail = false
		return errors.New("cannot be handled now")
	}
	h := got.Header
	switch h.Status {
	case frame.StatusDropped:
		m.got = append(m.got, fmt.Sprintf("dropped %s..%d", h.First, h.ID.Seq))
	case frame.StatusStarted:
		m.got = append(m.got, fmt.Sprintf("started %d", h.ID.Epoch))
	default:
		m.got = append(m.got, h.ID.String())
	}
	return nil
}

func (m *memory) asked() {
	if f := m.between; f != nil {
		m.between = nil
		f()
	}
}

func (m *memory) Read(_ context.Context, after frame.ID, _ int64, _ time.Duration) ([]Entry, error) {
	m.asked()
	var found []Entry
	for _, e := range m.entries {
		if after.Less(e.ID) && len(found) < m.reply {
			found = append(found, e)
		}
	}
	return found, nil
}

func (m *memory) First(context.Context) (frame.ID, error) {
	m.asked()
	if len(m.entries) == 0 {
		return frame.ID{}, nil
	}
	return m.entries[0].ID, nil
}

func (m *memory) Last(context.Context) (frame.ID, error) {
	m.asked()
	return m.last(), nil
}

func (m *memory) last() frame.ID {
	if len(m.entries) == 0 {
		return frame.ID{}
	}
	return m.entries[len(m.entries)-1].ID
}

// put adds entries as XADD does: each above the last one.
func (m *memory) put(all ...frame.Header) {
	m.t.Helper()
	for _, h := range all {
		if h.Status == "" {
			h.Status = frame.StatusOK
		}
		msg, err := frame.NewMessage(h, nil)
		if err != nil {
			m.t.Fatal(err)
		}
		if !m.last().Less(h.ID) {
			m.t.Fatalf("%s is put after %s", h.ID, m.last())
		}
		m.entries = append(m.entries, Entry{h.ID, map[string]any{"header": string(msg.HeaderJSON()), "image": ""}})
	}
}

// trim removes what is below an ID.
func (m *memory) trim(below frame.ID) {
	m.entries = slices.DeleteFunc(m.entries, func(e Entry) bool { return e.ID.Less(below) })
}

// step takes one step.
func (m *memory) step() {
	m.t.Helper()
	if err := m.consumer.Step(context.Background(), m); err != nil && !errors.Is(err, ErrUnhandled) {
		m.t.Fatal(err)
	}
}

// settle steps until all is read and a stream that began anew would have been noticed.
func (m *memory) settle() ConsumerStats {
	m.t.Helper()
	for range 4 {
		for before := (frame.ID{Seq: 1}); before != m.consumer.Stats().Watermark || len(m.consumer.held) > 0; {
			before = m.consumer.Stats().Watermark
			m.step()
		}
		m.now = m.now.Add(restartWait)
	}
	return m.consumer.Stats()
}

// entry is one of an epoch of its own.
func entry(epoch, seq uint64) frame.Header { return frame.Header{ID: id(epoch, seq)} }

// lost is a declaration.
func lost(epoch, first, last uint64) frame.Header {
	return frame.Header{ID: id(epoch, last), Status: frame.StatusDropped, First: id(epoch, first), Last: id(epoch, last), Count: last - first + 1}
}

// upTo are the frames from..to of an epoch.
func upTo(epoch, from, to uint64) (all []frame.Header) {
	for seq := from; seq <= to; seq++ {
		all = append(all, entry(epoch, seq))
	}
	return all
}
