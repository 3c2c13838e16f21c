package stream

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
)

func TestGroupSharesTheFrames(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	c := server.Client()
	a := newMember(t, testkit.Fast(server.URL()), "a", nil) // the stream is not there yet
	b := newMember(t, testkit.Fast(server.URL()), "b", nil)
	const waiting = "Waiting for the agent to create the stream"
	testkit.Eventually(t, "both wait for the stream", func() bool {
		return testkit.Count(a.out.Messages(), waiting)+testkit.Count(b.out.Messages(), waiting) == 2
	})
	if n := c.Exists(context.Background(), testKey).Val(); n != 0 {
		t.Fatal("a worker made the stream, which is the agent's to make")
	}
	put(t, c, frame.Header{ID: id(100, 0), Status: frame.StatusStarted}, nil)
	blocked(t, server, "2") // before that one may be done with everything while the other still waits
	frames(t, c, 1, 150)
	put(t, c, frame.Header{ID: id(100, 157), Status: frame.StatusDropped, First: id(100, 151), Last: id(100, 157), Count: 7}, nil)
	want := append(ids(0, 150), "100-157")
	onceEach(t, want, a, b)
	settled(t, c)
	if len(a.handled()) == 0 || len(b.handled()) == 0 {
		t.Errorf("a handled %d, b %d: want that both have a share", len(a.handled()), len(b.handled()))
	}
	made(t, 1, a, b)
	sa, sb := a.worker.Stats(), b.worker.Stats()
	if sa.Handled+sb.Handled != 152 || sa.Declared+sb.Declared != 7 || sa.Groups+sb.Groups != 1 ||
		sa.Claimed+sb.Claimed+sa.Failed+sb.Failed+sa.SetAside+sb.SetAside != 0 {
		t.Errorf("a %+v, b %+v; want 152 handled, 7 declared, 1 group made, nothing else", sa, sb)
	}
	if n := testkit.Count(a.out.Messages(), waiting) + testkit.Count(b.out.Messages(), waiting); n != 2 {
		t.Errorf("it was logged %d times by two workers, want once by each", n)
	}
}

// A worker that dies with entries in hand: the other takes them over.
func TestGroupTakesOverFromTheDead(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	c := server.Client()
	frames(t, c, 1, 20)
	if err := c.XGroupCreate(context.Background(), testKey, testGroup, "0").Err(); err != nil {
		t.Fatal(err)
	}
	// The dead one: read and never acknowledged.
	if err := c.XReadGroup(context.Background(), &redis.XReadGroupArgs{
		Group: testGroup, Consumer: "dead", Streams: []string{testKey, ">"}, Count: 8,
	}).Err(); err != nil {
		t.Fatal(err)
	}
	b := newMember(t, testkit.Fast(server.URL()), "b", func(c *GroupConfig) { c.Idle = 300 * time.Millisecond })
	onceEach(t, ids(1, 20), b)
	settled(t, c)
	if s := b.worker.Stats(); s.Claimed != 8 || s.Handled != 20 {
		t.Errorf("%+v, want 8 claimed of 20 handled", s)
	}
}

// A worker whose context ends in the middle of an entry leaves it to others;
// one that only lost its session goes on with it itself, at once.
func TestGroupWhenAWorkerIsInterrupted(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	c := server.Client()
	frames(t, c, 1, 1) // so that the size of a frame is known, and what follows is read at once
	a := newMember(t, testkit.Fast(server.URL()), "a", nil)
	onceEach(t, ids(1, 1), a)
	blocked(t, server, "1")
	entered := make(chan struct{})
	var once sync.Once
	a.hooked(func(ctx context.Context, m *frame.Message) error {
		if m.Header.ID != id(100, 4) {
			return nil
		}
		once.Do(func() {
			close(entered)
			<-ctx.Done()
		})
		return ctx.Err()
	})
	if _, err := c.TxPipelined(context.Background(), func(p redis.Pipeliner) error {
		for seq := uint64(2); seq <= 6; seq++ {
			m, err := frame.NewMessage(frame.Header{ID: id(100, seq), Camera: "testcam", Status: frame.StatusOK}, []byte("image"))
			if err != nil {
				return err
			}
			p.XAdd(context.Background(), &redis.XAddArgs{Stream: testKey, ID: m.Header.ID.String(), Values: []any{"header", m.HeaderJSON(), "image", m.Image()}})
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	<-entered
	server.KillClients("normal")
	onceEach(t, ids(1, 6), a) // 2 and 3 not twice, though they could not be acknowledged
	settled(t, c)
	if s := a.worker.Stats(); s.Claimed+s.Failed+s.SetAside != 0 || s.Handled != 6 {
		t.Errorf("%+v, want 6 handled and nothing else: it was not the entry's fault", s)
	}
}

func TestGroupSetsAside(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	c := server.Client()
	frames(t, c, 1, 2)
	server.Do("XADD", testKey, "100-3", "header", `{"id":"100-3","status":"ok","bytes":5}`, "image", "four")
	server.Do("XADD", testKey, "100-4", "header", `not JSON`, "image", "")
	server.Do("XADD", testKey, "100-5", "something", "else")
	server.Do("XADD", testKey, "100-6", "header", `{"id":"100-9","status":"ok","bytes":0}`, "image", "")
	frames(t, c, 7, 9)
	a, b := newMember(t, testkit.Fast(server.URL()), "a", nil), newMember(t, testkit.Fast(server.URL()), "b", nil)
	testkit.Eventually(t, "four entries are set aside", func() bool { return len(a.aside())+len(b.aside()) >= 4 })
	settled(t, c)
	got := append(a.aside(), b.aside()...)
	slices.Sort(got)
	for i, want := range []string{
		"100-3 true image length", "100-4 false ", "100-5 false ", "100-6 false " + errOtherID.Error(),
	} {
		if len(got) != 4 || !strings.HasPrefix(got[i], want) {
			t.Fatalf("set aside: %q, want %q at %d", got, want, i)
		}
	}
	sa, sb := a.worker.Stats(), b.worker.Stats()
	if sa.Handled+sb.Handled != 5 || sa.SetAside+sb.SetAside != 4 || sa.Failed+sb.Failed != 0 {
		t.Errorf("a %+v, b %+v; want 5 handled, 4 set aside, none failed", sa, sb)
	}
}

// What Settle could not make durable is not acknowledged, and comes again.
func TestGroupAcknowledgesOnlyWhatIsSettled(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	frames(t, server.Client(), 1, 3)
	var mu sync.Mutex // guards tried
	tried := 0
	a := newMember(t, testkit.Fast(server.URL()), "a", func(c *GroupConfig) {
		c.Idle = 300 * time.Millisecond
		c.Settle = func() error {
			mu.Lock()
			defer mu.Unlock()
			if tried++; tried == 1 {
				return errors.New("disk trouble")
			}
			return nil
		}
	})
	settled(t, server.Client())
	if got, want := byID(a.handled()), []string{"100-1", "100-1", "100-2", "100-3"}; !slices.Equal(got, want) {
		t.Errorf("handled %v, want %v", got, want)
	}
	if s := a.worker.Stats(); s.Handled != 3 || s.Failed != 1 {
		t.Errorf("%+v, want 3 handled, 1 failed", s)
	}
}

// A worker that leaves finishes what it has in hand and is forgotten.
func TestGroupLeave(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	c := server.Client()
	frames(t, c, 1, 3)
	a := newMember(t, testkit.Fast(server.URL()), "a", nil)
	onceEach(t, ids(1, 3), a)
	blocked(t, server, "1")
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	a.worker.Leave(ctx)
	if ctx.Err() != nil {
		t.Fatalf("the worker has not left within %s", testkit.Patience)
	}
	frames(t, c, 4, 6)
	if got := c.XInfoConsumers(context.Background(), testKey, testGroup).Val(); len(got) != 0 {
		t.Errorf("consumers after leaving: %+v, want none", got)
	}
	before := a.Status().Sessions
	server.KillClients("normal") // in a new session it stays away, too
	testkit.Eventually(t, "the next session", func() bool { return a.Status().Sessions > before && a.Status().State == datatransfer.Live })
	b := newMember(t, testkit.Fast(server.URL()), "b", nil)
	onceEach(t, ids(4, 6), b)
	onceEach(t, ids(1, 3), a)
}
