package stream

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
)

// An entry that cannot be handled stays pending for ever: neither lost sessions nor
// attempts make a worker give it up.
func TestGroupGivesUpNothingThatItCannotKeepNow(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	c := server.Client()
	frames(t, c, 1, 3)
	var full, waits atomic.Bool
	full.Store(true)
	a := newMember(t, testkit.Fast(server.URL()), "a", func(c *GroupConfig) {
		c.Idle = 300 * time.Millisecond
		handle := c.Handle
		c.Handle = func(ctx context.Context, m *frame.Message) error {
			switch {
			case !full.Load():
				return handle(ctx, m)
			case waits.Load():
				<-ctx.Done() // as a storer waits for room on the disk
				return ctx.Err()
			}
			return errors.New("disk full")
		}
	})
	pending := func() (tries int64) {
		all, _ := c.XPendingExt(context.Background(), &redis.XPendingExtArgs{Stream: testKey, Group: testGroup, Start: "-", End: "+", Count: 10}).Result()
		for _, p := range all {
			tries = max(tries, p.RetryCount)
		}
		return tries
	}
	testkit.Eventually(t, "seven attempts", func() bool { return pending() >= 7 })
	waits.Store(true)
	for range 6 {
		before := a.Status().Sessions
		server.KillClients("normal")
		testkit.Eventually(t, "the next session", func() bool { return a.Status().Sessions > before && a.Status().State == datatransfer.Live })
	}
	if s := a.worker.Stats(); s.SetAside+s.Handled+s.Trimmed != 0 || s.Failed < 7 || len(a.aside()) > 0 {
		t.Errorf("%+v, %q set aside; want nothing but failed attempts", s, a.aside())
	}
	if n, err := a.worker.Pending(context.Background(), c); n == 0 || err != nil {
		t.Errorf("pending: got %d, %v, want some", n, err)
	}
	full.Store(false)
	server.KillClients("normal")
	onceEach(t, ids(1, 3), a)
	settled(t, c)
	if n, err := a.worker.Pending(context.Background(), c); n != 0 || err != nil {
		t.Errorf("pending at the end: got %d, %v, want none", n, err)
	}
	if n := testkit.Count(a.out.Messages(), "Frames could not be handled; they stay pending, and are tried again"); n != 1 {
		t.Errorf("the failure was logged %d times, want once", n)
	}
}

// Entries that were handed out and trimmed before somebody finished them are lost, and
// counted by whoever finds out: their own worker, or the one that takes over.
func TestGroupCountsWhatWasTrimmedInHand(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for _, owner := range []string{"a", "dead"} {
		t.Run(owner, func(t *testing.T) {
			server := redistest.Start(t)
			c := server.Client()
			frames(t, c, 1, 9)
			ctx := context.Background()
			if err := c.XGroupCreate(ctx, testKey, testGroup, "0").Err(); err != nil {
				t.Fatal(err)
			}
			if err := c.XReadGroup(ctx, &redis.XReadGroupArgs{
				Group: testGroup, Consumer: owner, Streams: []string{testKey, ">"}, Count: 6,
			}).Err(); err != nil {
				t.Fatal(err)
			}
			server.Do("XTRIM", testKey, "MINID", "100-5")
			a := newMember(t, testkit.Fast(server.URL()), "a", func(c *GroupConfig) { c.Idle = 50 * time.Millisecond })
			onceEach(t, ids(5, 9), a)
			settled(t, c)
			testkit.Eventually(t, "the trimmed ones are counted", func() bool { return a.worker.Stats().Trimmed >= 4 })
			if s := a.worker.Stats(); s.Trimmed != 4 || s.Handled != 5 || s.SetAside+s.Failed != 0 {
				t.Errorf("%+v, want 4 trimmed, 5 handled", s)
			}
		})
	}
}

func TestParseClaims(t *testing.T) {
	entry := func(id string) any { return []any{id, []any{"header", "h", "image", "i"}} }
	for name, c := range map[string]struct {
		reply []any
		want  string
	}{
		"Redis 7":             {[]any{"1-3", []any{entry("1-1"), entry("1-2")}, []any{"0-8", "0-9"}}, "1-3 [1-1 1-2] 2 false <nil>"},
		"Redis 6.2":           {[]any{"0-0", []any{nil, entry("1-2")}}, "0-0 [1-2] 0 true <nil>"},
		"nothing":             {[]any{"0-0", []any{}, []any{}}, "0-0 [] 0 false <nil>"},
		"no reply of its own": {[]any{"0-0"}, " [] 0 false " + errClaims.Error()},
		"neither":             {[]any{int64(1), "x"}, " [] 0 false " + errClaims.Error()},
	} {
		got, err := parseClaims(c.reply)
		var found []string
		for _, e := range got.entries {
			found = append(found, e.ID)
			if len(e.Values) != 2 || e.Values["header"] != "h" || e.Values["image"] != "i" {
				t.Errorf("%s: values %v", name, e.Values)
			}
		}
		if text := fmt.Sprint(got.next, " ", found, " ", got.trimmed, " ", got.unnamed, " ", err); text != c.want {
			t.Errorf("%s: got %s, want %s", name, text, c.want)
		}
	}
}

// A worker that can finish nothing leaves what is new to the others, but for a trial
// now and then, and finishes what it has in hand as soon as it can.
func TestGroupLeavesNewEntriesToThoseWhoCan(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	c := server.Client()
	var broken atomic.Bool
	a := newMember(t, testkit.Fast(server.URL()), "a", func(c *GroupConfig) {
		c.Settle = func() error {
			if broken.Load() {
				return errors.New("disk trouble")
			}
			return nil
		}
	})
	frames(t, c, 1, 20)
	onceEach(t, ids(1, 20), a)
	broken.Store(true)
	frames(t, c, 21, 300)
	b := newMember(t, testkit.Fast(server.URL()), "b", nil)
	testkit.Eventually(t, "the stream is handed out", func() bool {
		groups, err := c.XInfoGroups(context.Background(), testKey).Result()
		return err == nil && len(groups) == 1 && groups[0].Lag == 0
	})
	if n, err := a.worker.Pending(context.Background(), c); n == 0 || n > 100 || err != nil {
		t.Errorf("the worker that can finish nothing has %d of 280 in hand, %v; want few", n, err)
	}
	broken.Store(false)
	settled(t, c) // within less than Idle
	atLeastOnce(t, ids(1, 300), a, b)
}
