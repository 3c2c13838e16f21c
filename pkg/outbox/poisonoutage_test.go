package outbox

import (
	"fmt"
	"testing"
	"time"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
)

// The ceiling is forgotten when the server accepts the size again: with the next
// session, or after 10 min.
func TestACeilingThatIsGoneIsForgotten(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for name, next := range map[string]func(s *sender, server *redistest.Server){
		"next session": func(s *sender, server *redistest.Server) {
			sessions := s.Status().Sessions
			server.KillClients("normal")
			testkit.Eventually(t, "there is another session", func() bool { return s.Status().Sessions > sessions })
		},
		"10 min": func(s *sender, _ *redistest.Server) { s.ahead.Add(int64(11 * time.Minute)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, url := limited(t, "proto-max-bulk-len")
			s := newSender(t, testkit.Unhurried(url), ModeBoth, nil)
			s.AwaitLive(t)
			heard := hear(t, server.Client())
			s.add(t, raw720, "")
			s.drain(t)
			next(s, server) // tested again, and still there
			s.AwaitLive(t)
			s.add(t, raw720, "")
			s.drain(t)
			server.ConfigSet("proto-max-bulk-len", "536870912")
			next(s, server)
			s.AwaitLive(t)
			s.add(t, raw720, `{"id":"large"}`)
			s.add(t, raw720, "")
			s.drain(t)
			expect(t, statuses(t, server.Client()), "started", "dropped 1-1", "dropped 2-2", "3", "4")
			heard.await(t, "the large answer", seq(3))
			heard.await(t, "the large frame", seq(4))
			if n := testkit.Count(s.out.Messages(), "Redis accepts large messages again"); n != 1 {
				t.Errorf("that was logged %d times, want once", n)
			}
		})
	}
}

// An outage blames nobody, however often it strikes the same large frames.
func TestAnOutageBlamesNoFrame(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	ended := func(s *sender, before uint64) {
		testkit.Eventually(t, "the session has ended", func() bool { return s.Status().Outages > before })
	}
	for name, strike := range map[string]func(s *sender, server *redistest.Server, proxy *redistest.Proxy){
		"killed": func(_ *sender, server *redistest.Server, _ *redistest.Proxy) { server.Kill(); server.Restart() },
		"frozen": func(s *sender, server *redistest.Server, _ *redistest.Proxy) {
			before := s.Status().Outages
			server.Freeze()
			ended(s, before)
			server.Thaw()
		},
		"dead line": func(s *sender, _ *redistest.Server, proxy *redistest.Proxy) {
			before := s.Status().Outages
			proxy.Stall(redistest.Both)
			ended(s, before)
			proxy.Unstall(redistest.Both)
		},
		"line reset":         func(_ *sender, _ *redistest.Server, proxy *redistest.Proxy) { proxy.ResetAll() },
		"line cut":           func(_ *sender, _ *redistest.Server, proxy *redistest.Proxy) { proxy.CutAll() },
		"connections killed": func(_ *sender, server *redistest.Server, _ *redistest.Proxy) { server.KillClients("normal") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			proxy := redistest.NewProxy(t, server.Addr())
			s := newSender(t, testkit.Fast(proxy.URL()), ModeBoth, nil)
			s.AwaitLive(t)
			proxy.Limit(redistest.ToServer, 4*mib)
			for round := range 6 {
				s.add(t, raw720, "")
				s.add(t, raw720, fmt.Sprintf(`{"id":"%d"}`, round))
				s.AwaitLive(t)
				before := proxy.Bytes(redistest.ToServer)
				testkit.Eventually(t, "large frames are on their way", func() bool { return proxy.Bytes(redistest.ToServer)-before > mib/2 })
				strike(s, server, proxy)
			}
			proxy.Limit(redistest.ToServer, 0)
			s.drain(t)
			if lost := s.frames.Losses(); lost["too_large"] > 0 || s.ceiling.limit() > 0 {
				t.Errorf("lost %v, ceiling %d; want none", lost, s.ceiling.limit())
			}
			expect(t, statuses(t, server.Client()), append([]string{"started"}, series(1, 12)...)...)
			if s.Status().Outages < 4 {
				t.Errorf("only %d outages struck", s.Status().Outages)
			}
		})
	}
}

// What is small enough alone must not be too large together, or a backlog would end
// a session for every few frames.
func TestABacklogIsSentInSmallEnoughParts(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for _, c := range []struct {
		by      string
		cut     int64 // the proxy's limit
		outages int
	}{{"proto-max-bulk-len", 0, 0}, {"client-query-buffer-limit", 0, 0}, {"proxy", mib, 0}, {"proxy", 300_000, 2}} {
		t.Run(fmt.Sprint(c.by, c.cut), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			if c.by != "proxy" {
				server.ConfigSet(c.by, "1048576")
			}
			proxy := redistest.NewProxy(t, server.Addr())
			proxy.CutLarge(c.cut)
			proxy.Refuse()
			s := newSender(t, testkit.Unhurried(proxy.URL()), ModeBoth, nil)
			for range 40 { // ten are just below 1 MiB, but for their commands
				s.add(t, 104_700, "")
				s.add(t, 104_700, `{"id":"answer"}`)
			}
			proxy.Accept()
			s.drain(t)
			if n := s.Status().Outages; n > uint64(c.outages) {
				t.Errorf("%d outages, want at most %d", n, c.outages)
			}
			expect(t, statuses(t, server.Client()), append([]string{"started"}, series(1, 80)...)...)
		})
	}
}
