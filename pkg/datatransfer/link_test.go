package datatransfer

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/redisconn"
)

func TestLinkIsLiveAndHears(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	h := listen(t, testkit.Unhurried(server.URL()))
	h.waitLive(t)
	h.hears(t, server.Client(), "hello")
	if s := h.Status(); s.RTT <= 0 || s.Sessions != 1 || s.Outages != 0 {
		t.Errorf("status %+v, want a round trip, 1 session, 0 losses", s)
	}
}

func TestLinkComesBackAfterKillAndSaysSo(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	h := listen(t, testkit.Unhurried(server.URL()))
	h.waitLive(t)
	for range 3 {
		server.Kill()
		h.waitCause(t, redisconn.CauseRefused)
		server.Restart()
		h.waitLive(t)
	}
	h.hears(t, server.Client(), "after the kills")
	got := h.log.Messages()
	for _, m := range []string{
		"Redis connection lost, attempting reconnection...",
		"Attempting to reconnect to Redis...",
		"Reconnected to Redis successfully and re-subscribed to channels.",
	} {
		n := 0
		for _, g := range got {
			if g == m {
				n++
			}
		}
		if n != 3 {
			t.Errorf("%q was logged %d times in 3 outages, want once in each; log: %q", m, n, got)
		}
	}
	if s := h.Status(); s.Outages != 3 || s.LastOutage.Lasted <= 0 {
		t.Errorf("status %+v, want 3 losses and how long the last one lasted", s)
	}
}

func TestLinkStartsBeforeRedis(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	port := redistest.FreePort(t)
	h := listen(t, testkit.Fast(testkit.RedisURL(port)))
	s := h.waitCause(t, redisconn.CauseRefused)
	if s.Cause.Advice() == "" {
		t.Errorf("cause %q has no advice", s.Cause)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := h.WaitLive(ctx); err == nil || !strings.Contains(err.Error(), "start redis-server") {
		t.Errorf("WaitLive without Redis returned %v, want what to do", err)
	}
	server := redistest.Start(t, redistest.WithPort(port))
	h.waitLive(t)
	h.hears(t, server.Client(), "late")
}

func TestLinkNoticesFreeze(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	h := listen(t, testkit.Fast(server.URL()))
	h.waitLive(t)
	server.Freeze()
	h.waitCause(t, redisconn.CauseFrozen)
	server.Thaw()
	h.waitLive(t)
	h.hears(t, server.Client(), "thawed")
}

func TestLinkNoticesASleepingServer(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	h := listen(t, testkit.Fast(server.URL()))
	h.waitLive(t)
	slept := make(chan struct{})
	go func() { defer close(slept); server.Do("DEBUG", "SLEEP", "1.5") }()
	testkit.Eventually(t, "the sleep is noticed", func() bool { return h.Status().LastOutage.Cause == redisconn.CauseFrozen })
	<-slept
	h.waitLive(t)
	h.hears(t, server.Client(), "awake")
}

func TestLinkNoticesKilledConnections(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	h := listen(t, testkit.Fast(server.URL()))
	for _, kind := range []string{"pubsub", "normal"} {
		h.waitLive(t)
		before := h.Status().Outages
		server.Do("CLIENT", "KILL", "TYPE", kind)
		testkit.Eventually(t, "a killed "+kind+" connection ends the session", func() bool { return h.Status().Outages > before })
	}
	h.waitLive(t)
	h.hears(t, server.Client(), "again")
}

// A stalled subscription beside a working data connection is the old wound:
// alive, writing, and deaf.
func TestLinkNoticesADeafSubscription(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	relay := newRelay(t, server.Addr())
	h := listen(t, testkit.Fast("redis://"+relay.addr()+"/0"), func(c *LinkConfig) {
		c.Workers = []Worker{{Name: "busy", Run: func(ctx context.Context, s *Session) error {
			for ctx.Err() == nil { // the data connection is never silent
				if err := s.Data().Ping(ctx).Err(); err != nil {
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
	before := h.Status().Outages
	relay.deafen(server.Clients("pubsub")[0]["addr"])
	testkit.Eventually(t, "the deaf subscription is noticed", func() bool { return h.Status().Outages > before })
	h.waitLive(t)
	h.hears(t, server.Client(), "not deaf")
}

func TestLinkRefusesTwoNodesBehindOneAddress(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	first, second := redistest.Start(t), redistest.Start(t)
	relay := newRelay(t, first.Addr(), second.Addr()) // connections take turns
	h := listen(t, testkit.Fast("redis://"+relay.addr()+"/0"))
	h.waitCause(t, redisconn.CauseWrongNode)
	if s := h.Status(); s.Sessions != 0 {
		t.Errorf("%d sessions were LIVE though no probe could come back", s.Sessions)
	}
}

func TestLinkNamesWhatIsNotPermitted(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t, redistest.WithACL("user agent on >secret ~* &* +@all"))
	cfg := testkit.Fast(server.URL())
	cfg.Username, cfg.PasswordFile = "agent", testkit.SecretFile(t, "secret")
	h := listen(t, cfg)
	h.waitLive(t)

	server.Do("ACL", "SETUSER", "agent", "resetchannels", "&probe/*")
	s := h.waitCause(t, redisconn.CausePermission)
	if !strings.Contains(s.Detail, "NOPERM") {
		t.Errorf("detail %q, want Redis's own words", s.Detail)
	}
	testkit.Eventually(t, "the log has the old words", func() bool {
		return slices.Contains(h.log.Messages(), "Redis connected but pubsub subscription failed, retrying...")
	})
	server.Do("ACL", "SETUSER", "agent", "allchannels")
	h.waitLive(t)
	h.hears(t, server.Client(), "permitted")
}

func TestLinkFollowsARotatedPassword(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t, redistest.WithACL("user agent on >first ~* &* +@all"))
	cfg := testkit.Fast(server.URL())
	cfg.Username, cfg.PasswordFile = "agent", testkit.SecretFile(t, "first")
	h := listen(t, cfg)
	h.waitLive(t)

	server.Do("ACL", "SETUSER", "agent", "resetpass", ">second")
	server.Do("CLIENT", "KILL", "USER", "agent") // old connections stay authenticated
	s := h.waitCause(t, redisconn.CausePassword)
	if strings.Contains(s.Detail+h.log.String(), "first") {
		t.Errorf("the password is in the status or the log: %s %s", s.Detail, h.log)
	}
	if err := os.WriteFile(cfg.PasswordFile, []byte("second\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.waitLive(t)
}

func TestLinkWaitsForAPasswordFile(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t, redistest.WithPassword("secret"))
	cfg := testkit.Fast(server.URL())
	cfg.PasswordFile = t.TempDir() + "/absent"
	h := listen(t, cfg)
	h.waitCause(t, redisconn.CauseConfig)
	if err := os.WriteFile(cfg.PasswordFile, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.waitLive(t)
}

func TestLinkSpeaksTLS(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t, redistest.WithMutualTLS())
	cfg := testkit.Fast(server.URL())
	h := listen(t, cfg)
	h.waitCause(t, redisconn.CauseTLS) // an unknown CA, no certificate of ours

	cfg.TLSCAFile, cfg.TLSCertFile, cfg.TLSKeyFile = server.TLS().CA, server.TLS().ClientCert, server.TLS().ClientKey
	good := listen(t, cfg)
	good.waitLive(t)
	good.hears(t, server.Client(), "secret")
}

func TestLinkFollowsSentinels(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	set := redistest.StartSentinel(t, time.Second)
	cfg := testkit.Fast("redis://127.0.0.1:1/0") // the Sentinels know better
	cfg.SentinelName, cfg.Sentinels = set.Name(), set.SentinelAddrs()
	h := listen(t, cfg)
	h.waitLive(t)
	old := set.Master()
	old.Freeze() // a killed master closes its connections; a frozen one says nothing
	testkit.Eventually(t, "the new master is followed", func() bool {
		s := h.Status()
		return s.State == Live && s.Addr != old.Addr()
	})
	h.hears(t, set.Master().Client(), "new master")
}

func TestFatalErrorEndsTheLink(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	refusal := errors.New("not here")
	l := NewLink(LinkConfig{Redis: testkit.Fast(server.URL()), Name: "testcam",
		Admit: func(context.Context, *Session) error { return &FatalError{refusal} }})
	if err := l.Run(context.Background()); !errors.Is(err, refusal) {
		t.Errorf("Run returned %v, want %v", err, refusal)
	}
}

func TestFlappingLeavesNothingBehind(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	h := listen(t, testkit.Fast(proxy.URL()))
	for range 50 {
		h.waitLive(t)
		before := h.Status().Outages
		proxy.CutAll()
		testkit.Eventually(t, "the cut is noticed", func() bool { return h.Status().Outages > before })
	}
	h.waitLive(t)
	h.hears(t, server.Client(), "still here")
	testkit.Eventually(t, "only one session's connections are open", func() bool { return proxy.Open() <= 3 })
} // and goleak counts the goroutines
