package datatransfer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"framekeeper/internal/redistest"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

// Whoever works when a session ends must let it end: a worker that goes on
// without a link keeps the next session from beginning.
func TestASessionEndsUnderFullLoad(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	w := newWriter(t, fast(proxy.URL()), 100, 1<<20)
	ctx, cancel := context.WithCancel(context.Background())
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		for ctx.Err() == nil {
			w.add(t, 1)
			time.Sleep(200 * time.Microsecond)
		}
	}()
	defer func() { cancel(); <-fed }()
	for range 30 {
		w.waitLive(t)
		before := w.Status().Losses
		if before%2 == 0 {
			proxy.CutAll()
		} else {
			server.KillClients("pubsub") // the subscription alone: the frames' connection still works
		}
		eventually(t, "the cut is noticed", func() bool { return w.Status().Losses > before })
	}
	cancel()
	<-fed
	w.drain(t)
}

// Connections close when a session ends, and everybody on them fails. What
// counts is why it ended.
func TestTheFirstCauseCounts(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	cfg := fast(server.URL())
	cfg.CheckTimeout = 150 * time.Millisecond
	h := listen(t, cfg, func(c *LinkConfig) {
		for i := range 4 { // blocked in a read when it happens
			c.Workers = append(c.Workers, NewConsumer(ConsumerConfig{Key: fmt.Sprint("frames:", i), FromStart: true}).Worker())
		}
	})
	for i := range 8 {
		h.waitLive(t)
		server.Freeze()
		eventually(t, "the freeze is noticed", func() bool { return h.Status().Losses > uint64(i) })
		server.Thaw()
		if got := h.Status().LastLoss; got.Cause != redisconn.CauseFrozen {
			t.Errorf("freeze %d was taken for %q, want %q", i, got.Cause, redisconn.CauseFrozen)
		}
	}
}

// A client follows many cameras on one link; each consumer holds a connection.
func TestManyWorkersLeaveRoomForTheProbe(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	h := listen(t, fast(server.URL()), func(c *LinkConfig) {
		for i := range 12 {
			c.Workers = append(c.Workers, NewConsumer(ConsumerConfig{Key: fmt.Sprint("frames:", i), FromStart: true}).Worker())
		}
	})
	h.waitLive(t)
	time.Sleep(2500 * time.Millisecond) // idle: nothing arrives that would excuse the probe
	if s := h.Status(); s.Losses != 0 || s.State != Live {
		t.Errorf("an idle link with 12 consumers: %+v, want LIVE without a loss; log:\n%s", s, h.log)
	}
}

// A worker that Redis refuses at once ends each session right after it became
// LIVE. That is one outage, not seven a second.
func TestASessionThatNeverLastsIsToldOnce(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server, master := redistest.Start(t), redistest.Start(t)
	h := listen(t, fast(server.URL()), func(c *LinkConfig) {
		c.Workers = []Worker{{Name: "write", Run: func(ctx context.Context, s *Session) error {
			for ctx.Err() == nil {
				if err := s.Data().Set(ctx, "key", "value", 0).Err(); err != nil {
					return err
				}
				select {
				case <-time.After(10 * time.Millisecond):
				case <-ctx.Done():
				}
			}
			return nil
		}}}
	})
	h.waitLive(t)
	server.ReplicaOf(master)
	eventually(t, "several sessions have ended", func() bool { return h.Status().Losses >= 8 })
	got := h.log.messages()
	for _, m := range []string{msgLost, msgAttempting} {
		if n := count(got, m); n != 1 {
			t.Errorf("%q was logged %d times during one outage, want once", m, n)
		}
	}
	early := count(got, msgReconnected)
	if early > 1 { // the first one looks like any other return
		t.Errorf("%q was logged %d times though no session lasted", msgReconnected, early)
	}
	server.Promote()
	eventually(t, "the end of the outage is told", func() bool { return count(h.log.messages(), msgReconnected) == early+1 })
	if !strings.Contains(h.log.String(), `"cause":"read-only"`) {
		t.Errorf("the log does not name the cause:\n%s", h.log)
	}
}

func count(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}

// A raw frame takes two seconds on this line, longer than every timeout of the
// link. It is slow, not dead; and when it stalls, it is dead.
func TestASlowLinkIsLive(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	cfg := redisconn.Default()
	cfg.URL = proxy.URL()
	proxy.Delay(redistest.Both, 100*time.Millisecond)
	proxy.Limit(redistest.Both, 10_000_000/8)
	w := newWriter(t, cfg, 100, 64<<20)
	w.image = make([]byte, 2_764_800)
	w.waitLive(t)
	end := time.Now().Add(10 * time.Second)
	for time.Now().Before(end) {
		if s := w.outbox.Stats(); s.Unsent < 2 {
			w.add(t, 1)
		}
		if s := w.Status(); s.Losses != 0 {
			t.Fatalf("a slow link was taken for dead: %+v\n%s", s, w.log)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if s := w.outbox.Stats(); s.Sent < 2 {
		t.Errorf("%d frames were sent in 10 s, want at least 2: the line is not what is tested", s.Sent)
	}
	proxy.Stall(redistest.Both)
	eventually(t, "the stall is noticed", func() bool { return w.Status().Losses == 1 })
	if got := w.Status().LastLoss.Cause; !slices.Contains([]redisconn.Cause{redisconn.CauseFrozen, redisconn.CauseBlackHole}, got) {
		t.Errorf("the stall was taken for %q", got)
	}
	proxy.Limit(redistest.Both, 0)
	proxy.Delay(redistest.Both, 0)
	proxy.Unstall(redistest.Both)
	w.drain(t)
	expectSeries(t, server, int(w.outbox.Stats().Newest.Seq))
}

// expectSeries checks that the stream holds "started" and frames 1 to n.
func expectSeries(t *testing.T, server *redistest.Server, n int) {
	t.Helper()
	expect(t, statuses(t, server.Client()), append([]string{string(frame.StatusStarted)}, series(1, n)...)...)
}
