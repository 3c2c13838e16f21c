package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
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

// recorder is a link with a consumer that writes down what it is handed.
type recorder struct {
	*linktest.Listener
	consumer *Consumer
	out      *testkit.Log

	mu   sync.Mutex // guards got and fail
	got  []string   // as statuses writes them
	fail func(*frame.Message) error
}

func newRecorder(t *testing.T, cfg redisconn.Config, change func(*ConsumerConfig)) *recorder {
	t.Helper()
	r := &recorder{out: &testkit.Log{}}
	c := ConsumerConfig{Key: testKey, FromStart: true, Handle: r.handle, Log: zerolog.New(r.out)}
	if change != nil {
		change(&c)
	}
	r.consumer = NewConsumer(c)
	r.Listener = linktest.Listen(t, cfg, func(c *datatransfer.LinkConfig) { c.Workers = []datatransfer.Worker{r.consumer.Worker()} })
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("reader's log:\n%s", r.out)
		}
	})
	return r
}

func (r *recorder) handle(_ context.Context, m *frame.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		if err := r.fail(m); err != nil {
			return err
		}
	}
	switch m.Header.Status {
	case frame.StatusOK:
		r.got = append(r.got, fmt.Sprint(m.Header.ID.Seq))
	case frame.StatusDropped:
		r.got = append(r.got, fmt.Sprintf("dropped %d-%d", m.Header.First.Seq, m.Header.Last.Seq))
	default:
		r.got = append(r.got, string(m.Header.Status))
	}
	return nil
}

func (r *recorder) failing(f func(*frame.Message) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = f
}

func (r *recorder) handed() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.got...)
}

// upTo waits until the watermark is there.
func (r *recorder) upTo(t *testing.T, epoch, seq uint64) ConsumerStats {
	t.Helper()
	want := frame.ID{Epoch: epoch, Seq: seq}
	testkit.Eventually(t, "the consumer is at "+want.String(), func() bool { return r.consumer.Stats().Watermark == want })
	return r.consumer.Stats()
}

// put adds an entry as an agent would.
func put(t *testing.T, c *redis.Client, h frame.Header, image []byte) {
	t.Helper()
	h.Camera = "testcam"
	if h.Status == "" {
		h.Status = frame.StatusOK
	}
	m, err := frame.NewMessage(h, image)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.XAdd(context.Background(), &redis.XAddArgs{
		Stream: testKey, ID: h.ID.String(), Values: []any{"header", m.HeaderJSON(), "image", m.Image()},
	}).Err(); err != nil {
		t.Fatal(err)
	}
}

func id(epoch, seq uint64) frame.ID { return frame.ID{Epoch: epoch, Seq: seq} }

// frames puts frames from to end of epoch 100.
func frames(t *testing.T, c *redis.Client, from, end uint64) {
	t.Helper()
	for seq := from; seq <= end; seq++ {
		put(t, c, frame.Header{ID: id(100, seq)}, []byte("image"))
	}
}

func TestConsumerBegins(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*ConsumerConfig)
		want   []string
	}{
		"at the oldest entry": {nil, append([]string{"started"}, series(1, 6)...)},
		"at its watermark":    {func(c *ConsumerConfig) { c.From = id(100, 3) }, series(4, 6)},
		"with new ones":       {func(c *ConsumerConfig) { c.FromStart = false }, series(5, 6)},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			client := server.Client()
			put(t, client, frame.Header{ID: id(100, 0), Status: frame.StatusStarted}, nil)
			frames(t, client, 1, 4)
			r := newRecorder(t, testkit.Fast(server.URL()), c.change)
			r.AwaitLive(t)
			testkit.Eventually(t, "it has begun", func() bool { return !r.consumer.Stats().Watermark.Less(id(100, 4)) })
			frames(t, client, 5, 6)
			s := r.upTo(t, 100, 6)
			expect(t, r.handed(), c.want...)
			if s.Trimmed+s.Undeclared+s.Declared+s.Duplicates+s.Corrupt != 0 {
				t.Errorf("%+v, want nothing but deliveries", s)
			}
		})
	}
}

// Kill, restart without persistence, freeze: with an agent that adds again what
// Redis lost, the consumer gets every frame once.
func TestConsumerResumes(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	w := newWriter(t, testkit.Fast(server.URL()), 100, 1<<20)
	r := newRecorder(t, testkit.Fast(server.URL()), nil)
	n := 0
	for round := range 4 {
		w.add(t, 15)
		n += 15
		if round%2 == 0 {
			w.drain(t)
		}
		switch round {
		case 0:
			r.upTo(t, 100, uint64(n))
		case 1:
			server.Kill()
			w.AwaitCause(t, redisconn.CauseRefused)
			w.add(t, 5)
			n += 5
			server.Restart()
		case 2:
			server.Freeze()
			r.AwaitCause(t, redisconn.CauseFrozen)
			w.add(t, 5)
			n += 5
			server.Thaw()
		case 3:
			server.KillClients("normal")
		}
	}
	w.drain(t)
	s := r.upTo(t, 100, uint64(n))
	expect(t, r.handed(), append([]string{"started"}, series(1, n)...)...)
	if s.Trimmed+s.Undeclared+s.Declared+s.Duplicates+s.Corrupt != 0 || s.Delivered != uint64(n) {
		t.Errorf("%+v, want %d delivered and nothing else", s, n)
	}
}

func TestConsumerPassesOverCorruptEntries(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	c := server.Client()
	frames(t, c, 1, 2)
	server.Do("XADD", testKey, "100-3", "header", `{"id":"100-3","status":"ok","bytes":5}`, "image", "four")
	server.Do("XADD", testKey, "100-4", "header", `not JSON`, "image", "")
	server.Do("XADD", testKey, "100-5", "something", "else")
	server.Do("XADD", testKey, "100-6", "header", `{"id":"100-9","status":"ok","bytes":0}`, "image", "")
	server.Do("XADD", testKey, "100-7", "header", `{"id":"100-7","status":"error","error":"stalled","bytes":0}`, "image", "")
	frames(t, c, 8, 8)
	r := newRecorder(t, testkit.Fast(server.URL()), nil)
	s := r.upTo(t, 100, 8)
	expect(t, r.handed(), "1", "2", "8")
	if s.Corrupt != 5 || s.Undeclared+s.Trimmed != 0 || s.Delivered != 3 {
		t.Errorf("%+v, want 5 corrupt, 3 delivered, none missing", s)
	}
}

// The watermark moves with the effect, not before it.
func TestConsumerTriesAFailedEntryAgain(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	c := server.Client()
	frames(t, c, 1, 2)
	put(t, c, frame.Header{ID: id(100, 9), Status: frame.StatusDropped, First: id(100, 3), Last: id(100, 9), Count: 7}, nil)
	tries := 0
	r := newRecorder(t, testkit.Fast(server.URL()), nil)
	r.upTo(t, 100, 9)
	r.failing(func(m *frame.Message) error {
		if m.Header.ID.Seq == 12 {
			if tries++; tries < 3 {
				return errors.New("disk full")
			}
		}
		return nil
	})
	put(t, c, frame.Header{ID: id(100, 12)}, nil) // 10 and 11 are missing
	frames(t, c, 13, 13)
	testkit.Eventually(t, "the first try", func() bool {
		return testkit.Count(r.out.Messages(), "A frame could not be handled; it is tried again every second") == 1
	})
	if got := r.consumer.Stats().Watermark; got != id(100, 9) {
		t.Errorf("the watermark is %s while the entry after 100-9 cannot be handled", got)
	}
	server.KillClients("normal") // and it is read again, gap and all
	s := r.upTo(t, 100, 13)
	expect(t, r.handed(), "1", "2", "dropped 3-9", "12", "13")
	if s.Undeclared != 2 || s.Declared != 7 || s.Delivered != 4 {
		t.Errorf("%+v, want 2 undeclared, 7 declared, 4 delivered: each counted once", s)
	}
}

// What Redis refuses is no reason to drop the link, which others use too.
func TestConsumerWaitsWhileReadingIsRefused(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t, redistest.WithACL("user bob on >secret ~* &* +@all"))
	cfg := testkit.Unhurried("redis://bob@" + server.Addr())
	cfg.PasswordFile = testkit.SecretFile(t, "secret")
	server.Do("SET", testKey, "not a stream")
	for _, onlyNew := range []bool{true, false} {
		r := newRecorder(t, cfg, func(c *ConsumerConfig) { c.FromStart = !onlyNew })
		r.AwaitLive(t)
		const refusal = "Redis refuses to read the stream; it is tried again every second"
		testkit.Eventually(t, "the refusal is logged", func() bool { return testkit.Count(r.out.Messages(), refusal) == 1 })
		server.Do("DEL", testKey)
		server.Do("ACL", "SETUSER", "bob", "-xread", "-xrevrange")
		time.Sleep(1500 * time.Millisecond)
		server.Do("ACL", "SETUSER", "bob", "+@all")
		testkit.Eventually(t, "the end of it is logged", func() bool { return testkit.Count(r.out.Messages(), "Redis permits reading the stream again") == 1 })
		frames(t, server.Client(), 1, 2)
		r.upTo(t, 100, 2)
		if s := r.Status(); s.Outages != 0 {
			t.Errorf("the link was lost %d times because reading was refused", s.Outages)
		}
		if n := testkit.Count(r.out.Messages(), refusal); n != 1 {
			t.Errorf("the refusal was logged %d times", n)
		}
		server.Do("DEL", testKey)
		server.Do("SET", testKey, "not a stream")
	}
}

// A master that becomes a replica lets go of blocked readers.
func TestConsumerOutlivesADemotion(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server, master := redistest.Start(t), redistest.Start(t)
	c := server.Client()
	frames(t, c, 1, 3)
	r := newRecorder(t, testkit.Fast(server.URL()), nil)
	r.upTo(t, 100, 3)
	testkit.Eventually(t, "the read blocks", func() bool { return server.Info("clients")["blocked_clients"] == "1" })
	server.ReplicaOf(master) // and loses its data
	server.Promote()
	frames(t, c, 4, 6)
	r.upTo(t, 100, 6)
	expect(t, r.handed(), series(1, 6)...)
}
