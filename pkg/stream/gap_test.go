package stream

import (
	"context"
	"strconv"
	"testing"
	"time"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/frame"
)

// dropped is a declaration.
func dropped(first, last uint64) frame.Header {
	return frame.Header{ID: id(100, last), Status: frame.StatusDropped, First: id(100, first), Last: id(100, last), Count: last - first + 1}
}

func ok(seq uint64) frame.Header { return frame.Header{ID: id(100, seq)} }

func startedAfter(epoch uint64, previous frame.ID, clean bool) frame.Header {
	return frame.Header{ID: id(epoch, 0), Status: frame.StatusStarted, Previous: &previous, Clean: &clean}
}

// Every ID between where the consumer began and its watermark is accounted for.
func TestGapsAreClassed(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for name, c := range map[string]struct {
		from    frame.ID
		entries []frame.Header
		want    ConsumerStats // Watermark apart
	}{
		"none": {id(100, 1), []frame.Header{ok(2), ok(3)}, ConsumerStats{Delivered: 2}},
		"in the middle of a reply": {id(100, 1), []frame.Header{ok(2), ok(5), ok(6)},
			ConsumerStats{Delivered: 3, Undeclared: 2}},
		"before a reply, but older ones are still there": {id(100, 2), []frame.Header{ok(1), ok(2), ok(5)},
			ConsumerStats{Delivered: 1, Undeclared: 2}},
		"below the stream's start": {id(100, 1), []frame.Header{ok(5), ok(6)}, ConsumerStats{Delivered: 2, Trimmed: 3}},
		"trimmed, then undeclared": {id(100, 1), []frame.Header{ok(5), ok(8)}, ConsumerStats{Delivered: 2, Trimmed: 3, Undeclared: 2}},
		"declared": {id(100, 1), []frame.Header{ok(2), dropped(3, 7), ok(8)},
			ConsumerStats{Delivered: 2, Declared: 5}},
		"declared from below the watermark": {id(100, 4), []frame.Header{dropped(2, 7), ok(8)},
			ConsumerStats{Delivered: 1, Declared: 3}},
		"declared, and trimmed before it": {id(100, 1), []frame.Header{dropped(5, 7), ok(8)},
			ConsumerStats{Delivered: 1, Declared: 3, Trimmed: 3}},
		"declared, and undeclared before it": {id(100, 1), []frame.Header{ok(2), dropped(5, 7)},
			ConsumerStats{Delivered: 1, Declared: 3, Undeclared: 2}},
		"declared at the stream's start": {frame.ID{}, []frame.Header{dropped(1, 7), ok(8)},
			ConsumerStats{Delivered: 1, Declared: 7}},
		"a new epoch":                   {id(90, 7), []frame.Header{startedAfter(100, id(90, 7), true), ok(1)}, ConsumerStats{Delivered: 1}},
		"a new epoch without its start": {id(90, 7), []frame.Header{ok(4)}, ConsumerStats{Delivered: 1, Trimmed: 3, Unknown: 1}},
		"an epoch's end was trimmed": {id(90, 7), []frame.Header{startedAfter(100, id(90, 9), true), ok(1)},
			ConsumerStats{Delivered: 1, Trimmed: 2}},
		"an epoch's end is missing": {id(90, 7), []frame.Header{{ID: id(90, 7)}, startedAfter(100, id(90, 9), true), ok(1)},
			ConsumerStats{Delivered: 1, Undeclared: 2}},
		"a whole epoch was trimmed": {id(90, 7), []frame.Header{startedAfter(100, id(95, 9), true), ok(1)},
			ConsumerStats{Delivered: 1, Trimmed: 9, Unknown: 1}},
		"killed": {id(90, 7), []frame.Header{startedAfter(100, id(90, 2), false), ok(1)},
			ConsumerStats{Delivered: 1, UncleanStart: 1, Unknown: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			for _, h := range c.entries {
				put(t, server.Client(), h, nil)
			}
			r := newRecorder(t, testkit.Fast(server.URL()), func(cfg *ConsumerConfig) { cfg.From = c.from })
			last := c.entries[len(c.entries)-1].ID
			got := r.upTo(t, last.Epoch, last.Seq)
			if c.want.Watermark = last; got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

// A corrupt entry does not hide the gap before it.
func TestAGapBeforeACorruptEntry(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	server.Do("XADD", testKey, "100-5", "header", "not JSON", "image", "")
	frames(t, server.Client(), 6, 6)
	r := newRecorder(t, testkit.Fast(server.URL()), func(c *ConsumerConfig) { c.From = id(100, 1) })
	if s := r.upTo(t, 100, 6); s.Trimmed != 3 || s.Corrupt != 1 || s.Delivered != 1 {
		t.Errorf("%+v, want 3 trimmed, 1 corrupt, 1 delivered", s)
	}
}

// Redis came back with older data, or with none and a new agent whose clock is
// behind: reading goes on from the oldest entry, and what was handed over
// before is not handed over again.
func TestAStreamThatBeganAnew(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	c := server.Client()
	frames(t, c, 1, 9)
	r := newRecorder(t, testkit.Fast(server.URL()), nil)
	r.upTo(t, 100, 9)
	began := time.Now()
	server.Do("DEL", testKey)
	put(t, c, frame.Header{ID: id(50, 0), Status: frame.StatusStarted}, nil)
	put(t, c, frame.Header{ID: id(50, 1)}, nil)
	frames(t, c, 1, 5)
	testkit.Eventually(t, "the stream is read again", func() bool { return r.consumer.Stats().Restarts == 1 })
	if took := time.Since(began); took < 4*time.Second {
		t.Errorf("a watermark above the stream was believed after %s, want 5s: the agent may still be adding", took)
	}
	s := r.upTo(t, 100, 5)
	expect(t, r.handed(), append(series(1, 9), "started", "1")...)
	if s.Duplicates != 5 || s.Undeclared+s.Trimmed != 0 {
		t.Errorf("%+v, want 5 duplicates and nothing missing", s)
	}
	frames(t, c, 6, 11)
	r.upTo(t, 100, 11)
	expect(t, r.handed(), append(series(1, 9), "started", "1", "10", "11")...)
}

// A consumer that began at a watermark does not miss what was before it, when a stream
// that began anew has some of that.
func TestWhatWasBeforeTheConsumerIsNotMissing(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	c := server.Client()
	put(t, c, dropped(1, 2), nil)
	put(t, c, ok(5), nil)
	put(t, c, startedAfter(110, id(100, 9), true), nil)
	put(t, c, frame.Header{ID: id(110, 1)}, nil)
	r := newRecorder(t, testkit.Fast(server.URL()), func(cfg *ConsumerConfig) { cfg.From = id(105, 3) })
	testkit.Eventually(t, "the stream is read", func() bool { return r.consumer.Stats().Watermark == id(110, 1) })
	server.Do("DEL", testKey)
	put(t, c, dropped(1, 2), nil)
	put(t, c, ok(5), nil)
	testkit.Eventually(t, "the stream is read again", func() bool { return r.consumer.Stats().Restarts == 1 })
	if s := r.upTo(t, 100, 5); s.Undeclared+s.Trimmed != 0 {
		t.Errorf("%+v, want nothing missing", s)
	}
}

// A stranger's ID raises the watermark above all of the agent's. What the agent adds when
// the stream has begun anew since is below it, and is read all the same.
func TestAStreamThatBeganAnewBelowAStrangersID(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	const stranger = 1_767_225_618_079
	server := redistest.Start(t)
	c := server.Client()
	frames(t, c, 1, 3)
	server.Do("XADD", testKey, strconv.Itoa(stranger)+"-0", "a", "b")
	r := newRecorder(t, testkit.Fast(server.URL()), nil)
	r.upTo(t, stranger, 0)
	server.Do("DEL", testKey)
	put(t, c, dropped(1, 3), nil)
	put(t, c, startedAfter(150, id(100, 3), true), nil)
	put(t, c, frame.Header{ID: id(150, 1)}, nil)
	put(t, c, startedAfter(stranger+1, id(150, 1), true), nil)
	put(t, c, frame.Header{ID: id(stranger+1, 1)}, nil)
	s := r.upTo(t, stranger+1, 1)
	expect(t, r.handed(), "1", "2", "3", "started", "1", "started", "1")
	if s.Delivered != 5 || s.Restarts != 1 || s.Undeclared+s.Trimmed != 0 {
		t.Errorf("%+v, want 5 frames, 1 restart and nothing missing", s)
	}
}

// 50 raw frames are 135 MB: the first reply must be small, since nothing is
// known yet.
func TestTheFirstReplyIsSmall(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	const size = 2_764_800
	put(t, server.Client(), frame.Header{ID: id(100, 0), Status: frame.StatusStarted}, nil)
	for seq := range uint64(8) {
		put(t, server.Client(), ok(seq+1), make([]byte, size))
	}
	var passed int64
	newRecorder(t, testkit.Fast(proxy.URL()), func(c *ConsumerConfig) {
		c.Handle = func(_ context.Context, m *frame.Message) error {
			if m.Header.ID.Seq == 1 {
				passed = proxy.Bytes(redistest.ToClient)
			}
			return nil
		}
	}).upTo(t, 100, 8)
	if passed > 2*size {
		t.Errorf("%d bytes came before the first frame of %d was handed over", passed, size)
	}
}
