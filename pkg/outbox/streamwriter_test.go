package outbox

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/linktest"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

const testKey = "frames:testcam"

// writer is a link with a log and the writer of its stream.
type writer struct {
	*linktest.Listener
	agent  *testkit.Log // what both log
	frames *Log
	writer *StreamWriter
	image  []byte
}

func newWriter(t *testing.T, cfg redisconn.Config, epoch uint64, retain int64, more ...func(*StreamWriter)) *writer {
	t.Helper()
	log := &testkit.Log{}
	w := &writer{image: bytes.Repeat([]byte("image"), 200), agent: log}
	w.frames = newLog(epoch, retain, zerolog.New(log))
	w.writer = NewStreamWriter(StreamWriterConfig{Key: testKey, Log: zerolog.New(log)}, w.frames)
	for _, f := range more {
		f(w.writer)
	}
	w.Listener = linktest.Listen(t, cfg, func(c *datatransfer.LinkConfig) {
		c.Admit = func(ctx context.Context, s *datatransfer.Session) error {
			return w.writer.Admit(ctx, s)
		}
		c.Workers = []datatransfer.Worker{w.writer.Worker()}
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("writer's log:\n%s", log)
		}
	})
	return w
}

func (w *writer) add(t *testing.T, n int) {
	t.Helper()
	for range n {
		_, err := w.frames.Add(Options{}, func(id frame.ID) (*frame.Message, error) {
			return frame.NewMessage(frame.Header{Camera: "testcam", ID: id, Status: frame.StatusOK}, w.image)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// drain waits until Redis has everything.
func (w *writer) drain(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	if err := w.frames.Flush(ctx); err != nil {
		t.Fatalf("log not drained: %v; stats %+v, stream %+v, link %+v", err, w.frames.Stats(), w.writer.Status(), w.Status())
	}
}

// statuses are the stream's entries as "seq:status", oldest first; ok entries
// are written as the sequence number alone. It fails on anything out of order.
func statuses(t *testing.T, c *redis.Client) []string {
	t.Helper()
	entries, err := c.XRange(context.Background(), testKey, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		m, err := frame.ParseEntry(e.Values)
		if err != nil {
			t.Fatalf("entry %s: %v", e.ID, err)
		}
		if m.Header.ID.String() != e.ID {
			t.Errorf("entry %s has header ID %s", e.ID, m.Header.ID)
		}
		switch m.Header.Status {
		case frame.StatusOK:
			out = append(out, fmt.Sprint(m.Header.ID.Seq))
		case frame.StatusDropped:
			out = append(out, fmt.Sprintf("dropped %d-%d", m.Header.First.Seq, m.Header.Last.Seq))
		default:
			out = append(out, string(m.Header.Status))
		}
	}
	return out
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("stream has %v\nwant %v", got, want)
	}
}

// expectNothingUndeclared checks that the stream has "started" and then every ID
// up to last, once and in order, as a frame or within a declared loss.
func expectNothingUndeclared(t *testing.T, c *redis.Client, last uint64) {
	t.Helper()
	next := uint64(1)
	for _, s := range statuses(t, c) {
		var first, end uint64
		if s == string(frame.StatusStarted) {
			continue
		}
		if n, _ := parseDropped(s, &first, &end); n != 2 {
			if _, err := fmt.Sscan(s, &first); err != nil {
				t.Fatal(err)
			}
			end = first
		}
		if first != next {
			t.Fatalf("after %d comes %q: undeclared loss, or there twice", next-1, s)
		}
		next = end + 1
	}
	if next != last+1 {
		t.Errorf("the stream ends at %d, want %d", next-1, last)
	}
}

func parseDropped(s string, first, last *uint64) (int, error) {
	return fmt.Sscanf(s, "dropped %d-%d", first, last)
}

// series is "from".."to" as strings.
func series(from, to int) (out []string) {
	for i := from; i <= to; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

func TestFramesEnterInOrderAfterStarted(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	w := newWriter(t, testkit.Fast(server.URL()), 100, 1<<20)
	w.add(t, 40)
	w.drain(t)
	expect(t, statuses(t, server.Client()), append([]string{"started"}, series(1, 40)...)...)
}

func TestFramesOfAnOutageFollow(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t, redistest.WithAOF("always"))
	w := newWriter(t, testkit.Fast(server.URL()), 100, 1<<20)
	w.add(t, 5)
	w.drain(t)
	server.Kill()
	w.AwaitCause(t, redisconn.CauseRefused)
	w.add(t, 5)
	server.Restart()
	w.drain(t)
	expect(t, statuses(t, server.Client()), append([]string{"started"}, series(1, 10)...)...)
}

func TestLostDataIsAddedAgain(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for name, hurt := range map[string]func(*redistest.Server){
		"restart without persistence": func(s *redistest.Server) { s.Kill(); s.Restart() },
		"flushall":                    func(s *redistest.Server) { s.Do("FLUSHALL") },
		"del":                         func(s *redistest.Server) { s.Do("DEL", testKey) },
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			w := newWriter(t, testkit.Fast(server.URL()), 100, 1<<20)
			w.add(t, 30)
			w.drain(t)
			hurt(server)
			testkit.Eventually(t, "the loss is noticed or the link is LIVE again", func() bool { return w.Status().State == datatransfer.Live })
			w.add(t, 3)
			w.drain(t)
			expect(t, statuses(t, server.Client()), append([]string{"started"}, series(1, 33)...)...)
		})
	}
}

func TestWhatIsNotInMemoryAnyMoreIsDeclared(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	w := newWriter(t, testkit.Fast(server.URL()), 100, 12_000) // about ten messages
	w.add(t, 5)
	w.drain(t)
	server.Kill()
	w.AwaitCause(t, redisconn.CauseRefused)
	w.add(t, 20)
	before := w.frames.Stats()
	server.Restart()
	w.drain(t)
	first := 25 - (before.Unsent - 1) + 1 // one of the unsent entries declares the loss
	want := append([]string{"started", "dropped 1-5", fmt.Sprintf("dropped 6-%d", first-1)}, series(first, 25)...)
	expect(t, statuses(t, server.Client()), want...)
	if before.Dropped != uint64(first-1-5) {
		t.Errorf("%d frames counted as dropped before Redis had them, want %d", before.Dropped, first-1-5)
	}
}

func TestLostReplyMakesNoDuplicate(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	w := newWriter(t, testkit.Fast(proxy.URL()), 100, 1<<20)
	w.add(t, 3)
	w.drain(t)
	for range 5 {
		lost := proxy.LoseReplyAfter([]byte("nomkstream"))
		w.add(t, 4)
		testkit.Eventually(t, "the reply is lost", func() bool {
			select {
			case <-lost:
				return true
			default:
				return false
			}
		})
		w.drain(t)
	}
	expect(t, statuses(t, server.Client()), append([]string{"started"}, series(1, 23)...)...)
}

func TestForeignWriterIsAConflict(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	w := newWriter(t, testkit.Fast(server.URL()), 100, 1<<20)
	w.add(t, 3)
	w.drain(t)
	server.Do("XADD", testKey, "*", "foreign", "1")
	w.add(t, 3)
	testkit.Eventually(t, "the conflict shows", func() bool { return w.writer.Status().Conflict })
	if s := w.writer.Status(); s.Writable || s.Reason == "" {
		t.Errorf("status %+v, want not writable with a reason", s)
	}
	if n := w.frames.Stats().Unsent; n != 3 {
		t.Errorf("%d frames unsent, want 3", n)
	}
	server.Do("DEL", testKey)
	w.drain(t)
	expect(t, statuses(t, server.Client()), append([]string{"started"}, series(1, 6)...)...)
}

func TestAStreamAheadOfOurClockRaisesTheEpoch(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	server.Do("XADD", testKey, "5000-7", "header", `{"status":"ok","id":"5000-7","bytes":0}`, "image", "")
	w := newWriter(t, testkit.Fast(server.URL()), 100, 1<<20)
	w.add(t, 3)
	w.drain(t)
	if e := w.frames.Epoch(); e != 5001 {
		t.Errorf("epoch %d, want 5001", e)
	}
	expect(t, statuses(t, server.Client()), "7", "started", "1", "2", "3")
}

// Before the first session could look at the stream, because something else
// stood under its name, our own frames are in it: that is no foreign epoch.
func TestAStreamThatCouldNotBeLookedAtAtFirst(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	server.Do("SET", testKey, "not a stream")
	w := newWriter(t, testkit.Fast(server.URL()), 100, 1<<20)
	w.add(t, 3)
	testkit.Eventually(t, "the refusal is in the status", func() bool { return !w.writer.Status().Writable })
	server.Do("DEL", testKey)
	w.drain(t)
	w.AwaitLive(t)
	before := w.Status().Outages
	server.KillClients("pubsub")
	testkit.Eventually(t, "the kill is noticed", func() bool { return w.Status().Outages > before })
	w.AwaitLive(t) // the link's end would fail the test too
	w.add(t, 3)
	w.drain(t)
	expect(t, statuses(t, server.Client()), append([]string{"started"}, series(1, 6)...)...)
}

func TestRefusalsHoldFramesAndHeal(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	w := newWriter(t, testkit.Fast(server.URL()), 100, 1<<20)
	w.add(t, 3)
	w.drain(t)

	server.ConfigSet("maxmemory", "1") // OOM: the link stays, the stream does not take frames
	w.add(t, 3)
	testkit.Eventually(t, "OOM shows", func() bool { return w.writer.Status().Cause == redisconn.CauseOOM })
	if s := w.Status(); s.State != datatransfer.Live {
		t.Errorf("link is %s under OOM, want LIVE", s.State)
	}
	server.ConfigSet("maxmemory", "0")
	w.drain(t)

	other := redistest.Start(t)
	server.ReplicaOf(other) // READONLY: the wrong node, so the session ends
	w.add(t, 3)
	w.AwaitCause(t, redisconn.CauseReadOnly)
	server.Promote()
	w.drain(t)
	got := statuses(t, server.Client())
	expect(t, got, append([]string{"started"}, series(1, 9)...)...) // the new master's empty data set was replaced too
}

func TestStreamStaysInItsBound(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	w := newWriter(t, testkit.Fast(server.URL()), 100, 1<<20)
	w.image = make([]byte, 10_000)
	w.frames.mu.Lock()
	w.frames.bound.max = 200_000
	w.frames.mu.Unlock()
	w.add(t, 100)
	w.drain(t)
	if n := len(statuses(t, server.Client())); n < 15 || n > 25 {
		t.Errorf("stream has %d entries of 10 kB, want about 19 for 200 kB", n)
	}
}

func TestAnswersGoOutBeforeTheirEntry(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	w := newWriter(t, testkit.Fast(server.URL()), 100, 1<<20)
	w.AwaitLive(t)
	item, err := w.frames.Add(Options{Answer: true}, func(id frame.ID) (*frame.Message, error) {
		return frame.NewMessage(frame.Header{Camera: "testcam", ID: id, Status: frame.StatusOK}, w.image)
	})
	if err != nil {
		t.Fatal(err)
	}
	w.add(t, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := w.frames.Flush(ctx); err == nil {
		t.Error("the answer's entry was added before it was published")
	}
	w.frames.Published(item)
	w.drain(t)
	expect(t, statuses(t, server.Client()), "started", "1", "2")
}
