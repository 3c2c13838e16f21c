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
		before := h.Status().Losses
		server.Freeze()
		eventually(t, "the freeze is noticed", func() bool { return h.Status().Losses > before })
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
	cfg := fast(server.URL())
	cfg.CheckTimeout = 1500 * time.Millisecond // longer than a busy machine makes a probe late
	h := listen(t, cfg, func(c *LinkConfig) {
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
	h := listen(t, unhurried(server.URL()), func(c *LinkConfig) {
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
// link. It is slow, not dead; and when it stalls, it is dead. A machine so busy
// that a probe is late ends it too, as it should: then all becomes slower, the
// timeouts and the line.
func TestASlowLinkIsLive(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	for slow := 1; ; slow *= 2 {
		proxy := redistest.NewProxy(t, server.Addr())
		w := newSlowWriter(t, proxy, slow)
		lost := w.carry(t, 3)
		switch {
		case !lost:
			w.dies(t, proxy)
			expectSeries(t, server, int(w.outbox.Stats().Newest.Seq))
			return
		case slow > 4:
			t.Fatalf("a slow link was taken for dead: %+v", w.Status())
		}
		t.Logf("%d times slower: %+v", 2*slow, w.Status().LastLoss)
		w.stop()
		server.Do("DEL", testKey)
	}
}

// newSlowWriter is one of raw frames on a line that is so many times slower than
// 10 Mbit/s, and so are the timeouts than the usual ones.
func newSlowWriter(t *testing.T, proxy *redistest.Proxy, slow int) *writer {
	t.Helper()
	cfg := redisconn.Default()
	cfg.URL = proxy.URL()
	cfg.CheckInterval *= time.Duration(slow)
	cfg.CheckTimeout *= time.Duration(slow)
	proxy.Delay(redistest.Both, 100*time.Millisecond)
	proxy.Limit(redistest.Both, 10_000_000/8/slow)
	w := newWriter(t, cfg, 100, 64<<20)
	w.image = make([]byte, 2_764_800)
	w.waitLive(t)
	return w
}

// carry keeps the line busy until it has carried so many frames, or is lost.
func (w *writer) carry(t *testing.T, frames uint64) (lost bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * patient); w.outbox.Stats().Sent < frames; time.Sleep(10 * time.Millisecond) {
		if w.Status().Losses > 0 {
			return true
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %d frames are carried", 3*patient, frames)
		}
		if w.outbox.Stats().Unsent < 2 {
			w.add(t, 1)
		}
	}
	return w.Status().Losses > 0
}

// dies expects that the line's end is noticed, and nothing lost by it.
func (w *writer) dies(t *testing.T, proxy *redistest.Proxy) {
	t.Helper()
	proxy.Stall(redistest.Both)
	eventually(t, "the stall is noticed", func() bool { return w.Status().Losses > 0 })
	if got := w.Status().LastLoss.Cause; !slices.Contains([]redisconn.Cause{redisconn.CauseFrozen, redisconn.CauseBlackHole}, got) {
		t.Errorf("the stall was taken for %q", got)
	}
	proxy.Limit(redistest.Both, 0)
	proxy.Delay(redistest.Both, 0)
	proxy.Unstall(redistest.Both)
	w.drain(t)
}

// expectSeries checks that the stream holds "started" and frames 1 to n.
func expectSeries(t *testing.T, server *redistest.Server, n int) {
	t.Helper()
	expect(t, statuses(t, server.Client()), append([]string{string(frame.StatusStarted)}, series(1, n)...)...)
}
