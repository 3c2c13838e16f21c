package datatransfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/internal/redistest"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

const testGroup = "pool"

// mate is a link with one worker of a pool, which writes down what it handled.
type mate struct {
	*hearer
	worker *GroupConsumer
	out    *lines

	mu   sync.Mutex // guards everything below
	got  []string   // IDs handled
	poor []string   // IDs set aside, with the reason
	hook func(ctx context.Context, m *frame.Message) error
}

func newMate(t *testing.T, cfg redisconn.Config, name string, change func(*GroupConfig)) *mate {
	t.Helper()
	m := &mate{out: &lines{}}
	c := GroupConfig{
		Key: testKey, Group: testGroup, Name: name, Idle: time.Minute, Log: zerolog.New(m.out),
		Handle: m.handle, Poison: m.poison,
	}
	if change != nil {
		change(&c)
	}
	m.worker = NewGroupConsumer(c)
	m.hearer = listen(t, cfg, func(c *LinkConfig) { c.Workers = []Worker{m.worker.Worker()} })
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of worker %s:\n%s", name, m.out)
		}
	})
	return m
}

func (m *mate) handle(ctx context.Context, msg *frame.Message) error {
	m.mu.Lock()
	hook := m.hook
	m.mu.Unlock()
	if hook != nil {
		if err := hook(ctx, msg); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.got = append(m.got, msg.Header.ID.String())
	return nil
}

func (m *mate) poison(id frame.ID, msg *frame.Message, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.poor = append(m.poor, fmt.Sprintf("%s %t %v", id, msg != nil, err))
}

func (m *mate) hooked(f func(context.Context, *frame.Message) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hook = f
}

func (m *mate) handled() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.got)
}

func (m *mate) aside() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.poor)
}

// ids are the names of frames of epoch 100.
func ids(from, to uint64) (out []string) {
	for seq := from; seq <= to; seq++ {
		out = append(out, id(100, seq).String())
	}
	return out
}

// byID sorts IDs of one epoch.
func byID(all []string) []string {
	slices.SortFunc(all, func(a, b string) int {
		x, _ := frame.ParseID(a)
		y, _ := frame.ParseID(b)
		return x.Compare(y)
	})
	return all
}

// all waits until the mates have handled everything of want, and fails when
// they handled anything else, or anything twice.
func all(t *testing.T, want []string, mates ...*mate) {
	t.Helper()
	sum := func() (got []string) {
		for _, m := range mates {
			got = append(got, m.handled()...)
		}
		return got
	}
	eventually(t, fmt.Sprintf("%d entries are handled", len(want)), func() bool { return len(sum()) >= len(want) })
	if got := byID(sum()); !slices.Equal(got, want) {
		t.Errorf("handled %v\nwant each once: %v", got, want)
	}
}

// atLeastOnce waits until every entry of want has been handled by somebody.
func atLeastOnce(t *testing.T, want []string, mates ...*mate) {
	t.Helper()
	eventually(t, "every entry is handled", func() bool {
		seen := map[string]bool{}
		for _, m := range mates {
			for _, id := range m.handled() {
				seen[id] = true
			}
		}
		return !slices.ContainsFunc(want, func(id string) bool { return !seen[id] })
	})
}

// settled waits until nothing is pending or unread in the pool.
func settled(t *testing.T, c *redis.Client) {
	t.Helper()
	eventually(t, "the pool has nothing pending", func() bool {
		groups, err := c.XInfoGroups(context.Background(), testKey).Result()
		return err == nil && len(groups) == 1 && groups[0].Pending == 0 && groups[0].Lag == 0
	})
}

// blocked waits until so many readers wait in Redis.
func blocked(t *testing.T, server *redistest.Server, n string) {
	t.Helper()
	eventually(t, n+" blocked readers", func() bool { return server.Info("clients")["blocked_clients"] == n })
}

func TestGroupSharesTheFrames(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	c := server.Client()
	a := newMate(t, fast(server.URL()), "a", nil) // the stream is not there yet
	b := newMate(t, fast(server.URL()), "b", nil)
	const told = "waiting for the agent to make the stream"
	eventually(t, "both wait for the stream", func() bool { return count(a.out.messages(), told)+count(b.out.messages(), told) == 2 })
	if n := c.Exists(context.Background(), testKey).Val(); n != 0 {
		t.Fatal("a worker made the stream, which is the agent's to make")
	}
	put(t, c, frame.Header{ID: id(100, 0), Status: frame.StatusStarted}, nil)
	frames(t, c, 1, 150)
	put(t, c, frame.Header{ID: id(100, 157), Status: frame.StatusDropped, First: id(100, 151), Last: id(100, 157), Count: 7}, nil)
	want := append(ids(0, 150), "100-157")
	all(t, want, a, b)
	settled(t, c)
	if len(a.handled()) == 0 || len(b.handled()) == 0 {
		t.Errorf("a handled %d, b %d: want that both have a share", len(a.handled()), len(b.handled()))
	}
	sa, sb := a.worker.Stats(), b.worker.Stats()
	if sa.Handled+sb.Handled != 152 || sa.Declared+sb.Declared != 7 || sa.Groups+sb.Groups != 1 ||
		sa.Claimed+sb.Claimed+sa.Failed+sb.Failed+sa.Poisoned+sb.Poisoned != 0 {
		t.Errorf("a %+v, b %+v; want 152 handled, 7 declared, 1 group made, nothing else", sa, sb)
	}
	if n := count(a.out.messages(), told) + count(b.out.messages(), told); n != 2 {
		t.Errorf("waiting was told %d times by two workers, want once by each", n)
	}
}

// A worker that dies with entries in hand: the other takes them over.
func TestGroupTakesOverFromTheDead(t *testing.T) {
	needRedis(t)
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
	b := newMate(t, fast(server.URL()), "b", func(c *GroupConfig) { c.Idle = 300 * time.Millisecond })
	all(t, ids(1, 20), b)
	settled(t, c)
	if s := b.worker.Stats(); s.Claimed != 8 || s.Handled != 20 {
		t.Errorf("%+v, want 8 claimed of 20 handled", s)
	}
}

// A worker whose context ends in the middle of an entry leaves it to others;
// one that only lost its session goes on with it itself, at once.
func TestGroupWhenAWorkerIsInterrupted(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	c := server.Client()
	frames(t, c, 1, 1) // so that the size of a frame is known, and what follows is read at once
	a := newMate(t, fast(server.URL()), "a", nil)
	all(t, ids(1, 1), a)
	blocked(t, server, "1")
	entered := make(chan struct{}, 1)
	a.hooked(func(ctx context.Context, m *frame.Message) error {
		if m.Header.ID != id(100, 4) {
			return nil
		}
		select {
		case entered <- struct{}{}:
			<-ctx.Done()
			return ctx.Err()
		default:
			return nil // the second time
		}
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
	all(t, ids(1, 6), a) // 2 and 3 not twice, though they could not be acknowledged
	settled(t, c)
	if s := a.worker.Stats(); s.Claimed+s.Failed+s.Poisoned != 0 || s.Handled != 6 {
		t.Errorf("%+v, want 6 handled and nothing else: it was not the entry's fault", s)
	}
}

func TestGroupSetsPoisonAside(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	c := server.Client()
	frames(t, c, 1, 2)
	server.Do("XADD", testKey, "100-3", "header", `{"id":"100-3","status":"ok","bytes":5}`, "image", "four")
	server.Do("XADD", testKey, "100-4", "header", `not JSON`, "image", "")
	server.Do("XADD", testKey, "100-5", "something", "else")
	server.Do("XADD", testKey, "100-6", "header", `{"id":"100-9","status":"ok","bytes":0}`, "image", "")
	frames(t, c, 7, 9)
	change := func(c *GroupConfig) {
		c.Idle, c.Tries = 100*time.Millisecond, 3
		handle := c.Handle
		c.Handle = func(ctx context.Context, m *frame.Message) error { return errors.Join(failOn(8)(m), handle(ctx, m)) }
	}
	a, b := newMate(t, fast(server.URL()), "a", change), newMate(t, fast(server.URL()), "b", change)
	eventually(t, "five entries are set aside", func() bool { return len(a.aside())+len(b.aside()) >= 5 })
	settled(t, c)
	got := append(a.aside(), b.aside()...)
	slices.Sort(got)
	for i, want := range []string{
		"100-3 true image length", "100-4 false ", "100-5 false ", "100-6 false " + errOtherID.Error(), "100-8 true not finished in 3 tries",
	} {
		if len(got) != 5 || !strings.HasPrefix(got[i], want) {
			t.Fatalf("set aside: %q, want %q at %d", got, want, i)
		}
	}
	sa, sb := a.worker.Stats(), b.worker.Stats()
	if sa.Handled+sb.Handled != 4 || sa.Poisoned+sb.Poisoned != 5 || sa.Failed+sb.Failed != 3 || sa.Claimed+sb.Claimed != 3 {
		t.Errorf("a %+v, b %+v; want 4 handled, 5 poisoned, 3 failed attempts, 3 claimed", sa, sb)
	}
}

// failOn refuses one frame of epoch 100.
func failOn(seq uint64) func(*frame.Message) error {
	return func(m *frame.Message) error {
		if m.Header.ID.Seq == seq {
			return errors.New("cannot be handled")
		}
		return nil
	}
}
