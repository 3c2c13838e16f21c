package stream

import (
	"testing"
	"time"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/redisconn"
)

// The stream, and the group with it, vanishes under blocked readers and comes
// back: what the stream then holds is shared again, from its start.
func TestGroupOutlivesItsStream(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for name, vanish := range map[string]func(*redistest.Server){
		"DEL":      func(s *redistest.Server) { s.Do("DEL", testKey) },
		"FLUSHALL": func(s *redistest.Server) { s.Do("FLUSHALL") },
		"restart":  func(s *redistest.Server) { s.Kill(); s.Restart() },
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			c := server.Client()
			frames(t, c, 1, 5)
			a, b := newMember(t, testkit.Fast(server.URL()), "a", nil), newMember(t, testkit.Fast(server.URL()), "b", nil)
			onceEach(t, ids(1, 5), a, b)
			blocked(t, server, "2") // UNBLOCKED is what they get
			vanish(server)
			frames(t, c, 6, 9)
			onceEach(t, ids(1, 9), a, b)
			settled(t, c)
			kept(t, a, b)
			made(t, 2, a, b)
			if n := testkit.Count(a.out.Messages(), "Redis refuses to read the stream; it is tried again every second"); n != 0 {
				t.Errorf("a stream that vanished was logged as a refusal, %d times", n)
			}
		})
	}
}

// Kill and freeze, with an agent that adds again what Redis lost: every frame
// is handled, and nobody stays away.
func TestGroupOutlivesRedis(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	w := newWriter(t, testkit.Fast(server.URL()), 100, 1<<20)
	change := func(c *GroupConfig) { c.Idle = time.Second }
	a, b := newMember(t, testkit.Fast(server.URL()), "a", change), newMember(t, testkit.Fast(server.URL()), "b", change)
	n := uint64(0)
	add := func(k int) { w.add(t, k); n += uint64(k) }
	for round := range 3 {
		add(20)
		switch round {
		case 0:
			server.Kill()
			w.AwaitCause(t, redisconn.CauseRefused)
			add(5)
			server.Restart()
		case 1:
			server.Freeze()
			a.AwaitCause(t, redisconn.CauseFrozen)
			b.AwaitCause(t, redisconn.CauseFrozen)
			add(5)
			server.Thaw()
		case 2:
			server.KillClients("normal")
		}
		atLeastOnce(t, ids(0, n), a, b)
	}
	w.drain(t)
	settled(t, server.Client())
	before := [2]int{len(a.handled()), len(b.handled())}
	testkit.Eventually(t, "both take their share again", func() bool {
		add(1)
		w.drain(t)
		return len(a.handled()) > before[0] && len(b.handled()) > before[1]
	})
}

// What Redis refuses is no reason to drop the link, which others use too.
func TestGroupWaitsWhileReadingIsRefused(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	const refusal, over = "Redis refuses to read the stream; it is tried again every second", "Redis permits reading the stream again"
	for name, c := range map[string]struct{ refuse, allow []any }{
		"WRONGTYPE":  {[]any{"SET", testKey, "not a stream"}, []any{"DEL", testKey}},
		"XREADGROUP": {[]any{"ACL", "SETUSER", "bob", "-xreadgroup"}, []any{"ACL", "SETUSER", "bob", "+@all"}},
		"XACK":       {[]any{"ACL", "SETUSER", "bob", "-xack"}, []any{"ACL", "SETUSER", "bob", "+@all"}},
		"XAUTOCLAIM": {[]any{"ACL", "SETUSER", "bob", "-xautoclaim"}, []any{"ACL", "SETUSER", "bob", "+@all"}},
		"the key":    {[]any{"ACL", "SETUSER", "bob", "resetkeys", "~other"}, []any{"ACL", "SETUSER", "bob", "~*"}},
		"XGROUP":     {[]any{"ACL", "SETUSER", "bob", "-xgroup"}, []any{"ACL", "SETUSER", "bob", "+@all"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.WithACL("user bob on >secret ~* &* +@all"))
			cfg := testkit.Fast("redis://bob@" + server.Addr())
			cfg.PasswordFile = testkit.SecretFile(t, "secret")
			server.Do(c.refuse...)
			if name != "WRONGTYPE" {
				frames(t, server.Client(), 1, 3)
			}
			a := newMember(t, cfg, "a", nil)
			testkit.Eventually(t, "the refusal is logged", func() bool { return testkit.Count(a.out.Messages(), refusal) == 1 })
			time.Sleep(1500 * time.Millisecond) // it is tried again meanwhile
			server.Do(c.allow...)
			if name == "WRONGTYPE" {
				frames(t, server.Client(), 1, 3)
			}
			onceEach(t, ids(1, 3), a)
			settled(t, server.Client())
			testkit.Eventually(t, "the end of it is logged", func() bool { return testkit.Count(a.out.Messages(), over) == 1 })
			if n := testkit.Count(a.out.Messages(), refusal); n != 1 {
				t.Errorf("the refusal was logged %d times, want once", n)
			}
			kept(t, a)
		})
	}
}
