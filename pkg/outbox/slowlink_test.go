package outbox

import (
	"context"
	"slices"
	"testing"
	"time"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

// Whoever works when a session ends must let it end: a worker that goes on
// without a link prevents the next session.
func TestASessionEndsUnderFullLoad(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	w := newWriter(t, testkit.Fast(proxy.URL()), 100, 1<<20)
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
		w.AwaitLive(t)
		before := w.Status().Outages
		if before%2 == 0 {
			proxy.CutAll()
		} else {
			server.KillClients("pubsub") // the subscription alone: the frames' connection still works
		}
		testkit.Eventually(t, "the cut is noticed", func() bool { return w.Status().Outages > before })
	}
	cancel()
	<-fed
	w.drain(t)
}

// A raw frame takes two seconds on this line, longer than every timeout of the
// link. It is slow, not dead; and when it stalls, it is dead. A machine so busy
// that a probe is late ends it too, as it should: then all becomes slower, the
// timeouts and the line.
func TestASlowLinkIsLive(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	for slow := 1; ; slow *= 2 {
		proxy := redistest.NewProxy(t, server.Addr())
		w := newSlowWriter(t, proxy, slow)
		lost := w.carry(t, 3)
		switch {
		case !lost:
			w.dies(t, proxy)
			expectSeries(t, server, int(w.frames.Stats().Newest.Seq))
			return
		case slow > 4:
			t.Fatalf("a slow link was taken for dead: %+v", w.Status())
		}
		t.Logf("%d times slower: %+v", 2*slow, w.Status().LastOutage)
		w.Stop()
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
	w.AwaitLive(t)
	return w
}

// carry keeps the line busy until it has carried so many frames, or is lost.
func (w *writer) carry(t *testing.T, frames uint64) (lost bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * testkit.Patience); w.frames.Stats().Sent < frames; time.Sleep(10 * time.Millisecond) {
		if w.Status().Outages > 0 {
			return true
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %d frames are carried", 3*testkit.Patience, frames)
		}
		if w.frames.Stats().Unsent < 2 {
			w.add(t, 1)
		}
	}
	return w.Status().Outages > 0
}

// dies expects that the line's end is noticed, and nothing lost by it.
func (w *writer) dies(t *testing.T, proxy *redistest.Proxy) {
	t.Helper()
	proxy.Stall(redistest.Both)
	testkit.Eventually(t, "the stall is noticed", func() bool { return w.Status().Outages > 0 })
	if got := w.Status().LastOutage.Cause; !slices.Contains([]redisconn.Cause{redisconn.CauseFrozen, redisconn.CauseBlackHole}, got) {
		t.Errorf("the stall was taken for %q", got)
	}
	proxy.Limit(redistest.Both, 0)
	proxy.Delay(redistest.Both, 0)
	proxy.Unstall(redistest.Both)
	w.drain(t)
}

// expectSeries checks that the stream has "started" and frames 1 to n.
func expectSeries(t *testing.T, server *redistest.Server, n int) {
	t.Helper()
	expect(t, statuses(t, server.Client()), append([]string{string(frame.StatusStarted)}, series(1, n)...)...)
}
