package datatransfer

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/redisconn"
)

const mib = 1 << 20

// liveSession runs a link that has nothing to do but its probe, and waits for its session.
func liveSession(t *testing.T, cfg redisconn.Config) *Session {
	t.Helper()
	h := listen(t, cfg)
	h.waitLive(t)
	var s *Session
	testkit.Eventually(t, "there is a session", func() bool { s = h.Session(); return s != nil })
	return s
}

// mustAccept asks a healthy session, which it must leave healthy.
func mustAccept(t *testing.T, s *Session, size int64, want bool) {
	t.Helper()
	got, err := s.Accepts(t.Context(), size)
	if err != nil || got != want {
		t.Errorf("Accepts(%d bytes) = %v, %v; want %v", size, got, err, want)
	}
	if s.ctx.Err() != nil {
		t.Errorf("the session ended: %v", context.Cause(s.ctx))
	}
}

func TestTheSizeThatRedisAccepts(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for name, c := range map[string]struct {
		setting  string
		accepted int64 // the largest one tried
		refused  int64 // 0: none
	}{
		"as installed":              {"maxclients", 32 * mib, 0},
		"proto-max-bulk-len":        {"proto-max-bulk-len", mib, mib + 1},
		"client-query-buffer-limit": {"client-query-buffer-limit", mib / 2, 2 * mib},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.WithConfig(c.setting, "1048576"))
			s := liveSession(t, testkit.Unhurried(server.URL()))
			mustAccept(t, s, 0, true)
			mustAccept(t, s, c.accepted, true)
			if c.refused > 0 {
				mustAccept(t, s, c.refused, false)
				mustAccept(t, s, 8*mib, false)
				mustAccept(t, s, c.accepted, true)
			}
			testkit.Eventually(t, "its connections are closed", func() bool { return len(server.Clients("normal")) == 1 })
		})
	}
}

func TestTheSizeThatRedisAcceptsOverTLSAndASocket(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for name, opt := range map[string]redistest.Option{"tls": redistest.WithTLS(), "unix": redistest.WithUnixSocket()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, opt, redistest.WithConfig("proto-max-bulk-len", "1048576"))
			cfg := testkit.Unhurried(server.URL())
			if files := server.TLS(); files != nil {
				cfg.TLSCAFile = files.CA
			}
			s := liveSession(t, cfg)
			mustAccept(t, s, mib, true)
			mustAccept(t, s, 4*mib, false)
		})
	}
}

// The documented rights of an agent are enough, and so is its probe channel alone.
func TestTheSizeIsFoundWithTheDocumentedRights(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t, redistest.WithConfig("proto-max-bulk-len", "1048576"), redistest.WithPassword("secret"), redistest.WithACL(
		"user agent on >secret resetkeys ~frames:* ~status:* resetchannels &request/* &stream/* &status/* &probe/* +subscribe +publish +echo +get +pttl +set +del +xadd +xlen +xtrim +xrevrange +xinfo|stream +xinfo|groups +multi +exec +role",
		"user narrow on >secret resetchannels &request/* &probe/testcam/* +subscribe +publish +echo"))
	for _, user := range []string{"agent", "narrow"} {
		cfg := testkit.Unhurried(server.URL())
		cfg.Username, cfg.PasswordFile = user, server.PasswordFile()
		s := liveSession(t, cfg)
		mustAccept(t, s, mib, true)
		mustAccept(t, s, 2*mib, false)
	}
	if log := server.Do("ACL", "LOG").([]any); len(log) > 0 {
		t.Errorf("Redis refused something: %v", log)
	}
}

func TestTheSizeThatAProxyAccepts(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	proxy := redistest.NewProxy(t, redistest.Start(t).Addr())
	proxy.CutLarge(mib)
	s := liveSession(t, testkit.Unhurried(proxy.URL()))
	mustAccept(t, s, mib/2, true)
	mustAccept(t, s, 2*mib, false)
	mustAccept(t, s, mib/2, true)
}

// On a line on which the padding takes several times io_timeout, the answer is the
// same as on a fast one.
func TestASlowLineIsNoRefusal(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for name, c := range map[string]struct {
		longest string
		want    bool
	}{"accepted": {"1gb", true}, "refused": {"1048576", false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.WithConfig("proto-max-bulk-len", c.longest))
			proxy := redistest.NewProxy(t, server.Addr())
			cfg := testkit.Unhurried(proxy.URL())
			cfg.IOTimeout = time.Second
			s := liveSession(t, cfg)
			proxy.Limit(redistest.ToServer, 400_000)
			mustAccept(t, s, 2*mib, c.want)
		})
	}
}

// Nothing that happens while the padding is under way is blamed on its size.
func TestAnOutageIsNoRefusal(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	stopped := errors.New("the test ends it")
	for name, hurt := range map[string]func(server *redistest.Server, proxy *redistest.Proxy, stop func(error)){
		"killed":             func(server *redistest.Server, _ *redistest.Proxy, _ func(error)) { server.Kill() },
		"restarted":          func(server *redistest.Server, _ *redistest.Proxy, _ func(error)) { server.Restart() },
		"frozen":             func(server *redistest.Server, _ *redistest.Proxy, _ func(error)) { server.Freeze() },
		"connections killed": func(server *redistest.Server, _ *redistest.Proxy, _ func(error)) { server.KillClients("normal") },
		"line cut":           func(_ *redistest.Server, proxy *redistest.Proxy, _ func(error)) { proxy.ResetAll() },
		"line dead":          func(_ *redistest.Server, proxy *redistest.Proxy, _ func(error)) { proxy.Stall(redistest.Both) },
		"given up":           func(_ *redistest.Server, _ *redistest.Proxy, stop func(error)) { stop(stopped) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			proxy := redistest.NewProxy(t, server.Addr())
			cfg := testkit.Fast(proxy.URL())
			cfg.IOTimeout = time.Second
			s := liveSession(t, cfg)
			proxy.Limit(redistest.ToServer, 2*mib)
			before := proxy.Bytes(redistest.ToServer)
			ctx, stop := context.WithCancelCause(t.Context())
			defer stop(nil)
			type result struct {
				accepted bool
				err      error
			}
			done := make(chan result, 1)
			go func() {
				accepted, err := s.Accepts(ctx, 32*mib)
				done <- result{accepted, err}
			}()
			testkit.Eventually(t, "the padding is under way", func() bool { return proxy.Bytes(redistest.ToServer)-before > mib/2 })
			hurt(server, proxy, stop)
			began := time.Now()
			r := <-done
			if r.err == nil {
				t.Errorf("Accepts = %v, want an error", r.accepted)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("returned after %s", took)
			}
			if name == "given up" && !errors.Is(r.err, stopped) {
				t.Errorf("Accepts returned %v, want %v", r.err, stopped)
			}
		})
	}
}

// A restart while one padded connection ends is found even where the line hides it
// from the others: nobody there is subscribed to the session's probe.
func TestAnotherServerIsNoWitness(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	first, second := redistest.Start(t), redistest.Start(t, redistest.WithConfig("proto-max-bulk-len", "1048576"))
	r := newRelay(t, first.Addr(), first.Addr(), second.Addr()) // subscription, probe, then the witness
	s := liveSession(t, testkit.Unhurried("redis://"+r.addr()+"/0"))
	if accepted, err := s.Accepts(t.Context(), 2*mib); redisconn.CauseOf(err) != redisconn.CauseWrongNode {
		t.Errorf("Accepts = %v, %v; want an error about the wrong node", accepted, err)
	}
}

func TestThePaddingIsInMemoryOnce(t *testing.T) { // alone, for its count
	testkit.NeedRedis(t)
	const size = 64 * mib
	s := liveSession(t, testkit.Unhurried(redistest.Start(t).URL()))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	mustAccept(t, s, size, true)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > size+8*mib {
		t.Errorf("padding of %d bytes took %d bytes of memory", size, took)
	}
}
