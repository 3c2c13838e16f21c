package control

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/proctest"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

// controller is one on a link of its own.
type controller struct {
	*tested
	*doer
	link *datatransfer.Link
	stop func() // not in order: without a last announcement
	log  proctest.Output
}

func (c *controller) logged(what string) int { return strings.Count(c.log.String(), what) }

// begin runs a controller of box1 until the test ends.
func begin(t *testing.T, cfg redisconn.Config) *controller {
	t.Helper()
	c := &controller{doer: &doer{}}
	log := zerolog.New(&c.log)
	logger := func() *zerolog.Logger { return &log }
	c.tested = &tested{NewServer(c.do, logger), NewRivals("box1", NewIdentity(), logger)}
	c.link = datatransfer.NewLink(datatransfer.LinkConfig{
		Redis: cfg, Name: "box1", Log: zerolog.Nop(), Subscriptions: []datatransfer.Subscription{c.Subscription(c.rivals)},
		Workers: []datatransfer.Worker{c.Worker(), c.rivals.Worker()},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = c.Run(ctx) })
	running.Go(func() { _ = c.link.Run(ctx) })
	c.stop = func() { cancel(); running.Wait() }
	t.Cleanup(c.stop)
	if err := c.link.WaitLive(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func commandOf(t *testing.T, cfg redisconn.Config, fields map[string]any) *Answers {
	t.Helper()
	call, err := NewCall("box1", fields)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	a, err := call.Do(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Through a failover, with a silent master, two of one name stay two.
func TestRivalsThroughFailover(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	set := redistest.StartSentinel(t, time.Second)
	cfg := redisconn.Default()
	cfg.URL, cfg.SentinelName, cfg.Sentinels = "redis://127.0.0.1:1/0", set.Name(), set.SentinelAddrs()
	one, two := begin(t, cfg), begin(t, cfg)
	both := func() bool { return len(one.rivals.Alive()) == 1 && len(two.rivals.Alive()) == 1 }
	testkit.Eventually(t, "both to notice", both)
	old := set.Master()
	old.Freeze()
	for _, c := range []*controller{one, two} {
		testkit.Eventually(t, "the new master to be followed", func() bool {
			s := c.link.Status()
			return s.State == datatransfer.Live && s.Addr != old.Addr()
		})
	}
	fields := map[string]any{"command": Stop, "camera": "cam1"}
	if a := commandOf(t, cfg, fields); len(a.Replies) != 2 || a.Controllers() != 2 {
		t.Errorf("got %d answers, want both", len(a.Replies))
	}
	if n := len(one.effects()) + len(two.effects()); n != 0 {
		t.Errorf("%d effects, want none", n)
	}
	for _, c := range []*controller{one, two} {
		if c.logged("Another controller") != 1 || c.logged("No other controller") != 0 {
			t.Errorf("the conflict was logged %d times, and its end %d times, want once and never", c.logged("Another controller"), c.logged("No other controller"))
		}
	}
	two.stop()
	testkit.Eventually(t, "the one that is left to carry it out", func() bool {
		a := commandOf(t, cfg, fields)
		return a.Replies[0].Status == OK
	})
	if len(one.effects()) != 1 || one.logged("No other controller") != 1 {
		t.Errorf("got effects %v, and the end of the conflict %d times in the log", one.effects(), one.logged("No other controller"))
	}
}

// Rights to exactly the channels of one box are enough.
func TestRivalsNeedNoFurtherRights(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t, redistest.WithACL("user default on nopass ~* &* +@all",
		"user box on >pw resetchannels &control/box1 &control-reply/box1 &probe/box1/* +subscribe +publish +echo"))
	password := t.TempDir() + "/password"
	if err := os.WriteFile(password, []byte("pw"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := redisconn.Default()
	cfg.URL = server.URL()
	caller := cfg
	cfg.Username, cfg.PasswordFile = "box", password
	one, two := begin(t, cfg), begin(t, cfg)
	testkit.Eventually(t, "both to notice", func() bool { return len(one.rivals.Alive()) == 1 && len(two.rivals.Alive()) == 1 })
	a := commandOf(t, caller, map[string]any{"command": Stop, "camera": "cam1", "instance": one.rivals.Self().Instance})
	if len(a.Replies) != 1 || a.Replies[0].Status != OK || len(one.effects()) != 1 || len(two.effects()) != 0 {
		t.Errorf("got %+v, effects %v and %v", a, one.effects(), two.effects())
	}
	if one.rivals.Leave(one.link.Session()); len(one.rivals.Alive()) != 1 {
		t.Error("who leaves has forgotten the other")
	}
	testkit.Eventually(t, "the other to notice", func() bool { return len(two.rivals.Alive()) == 0 })
	if log, _ := server.Do("ACL", "LOG").([]any); len(log) != 0 {
		t.Errorf("denied: %v", log)
	}
}
