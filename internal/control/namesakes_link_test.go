package control

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

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
	stop func() // not in order: nobody is told
	log  proctest.Output
}

func (c *controller) said(what string) int { return strings.Count(c.log.String(), what) }

// begin runs a controller of box1 until the test ends.
func begin(t *testing.T, cfg redisconn.Config) *controller {
	t.Helper()
	c := &controller{doer: &doer{}}
	log := zerolog.New(&c.log)
	logger := func() *zerolog.Logger { return &log }
	c.tested = &tested{NewServer(c.do, logger), NewNamesakes("box1", NewIdentity(), logger)}
	c.link = datatransfer.NewLink(datatransfer.LinkConfig{
		Redis: cfg, Name: "box1", Log: zerolog.Nop(), Subscriptions: []datatransfer.Subscription{c.Subscription(c.names)},
		Workers: []datatransfer.Worker{c.Worker(), c.names.Worker()},
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

// Through a failover, with a master that says nothing, two of one name stay two.
func TestNamesakesThroughFailover(t *testing.T) {
	needRedis(t)
	t.Parallel()
	set := redistest.StartSentinel(t, time.Second)
	cfg := redisconn.Default()
	cfg.URL, cfg.SentinelName, cfg.Sentinels = "redis://127.0.0.1:1/0", set.Name(), set.SentinelAddrs()
	one, two := begin(t, cfg), begin(t, cfg)
	both := func() bool { return len(one.names.Others()) == 1 && len(two.names.Others()) == 1 }
	eventually(t, "both to notice", both)
	old := set.Master()
	old.Freeze()
	for _, c := range []*controller{one, two} {
		eventually(t, "the new master to be followed", func() bool {
			s := c.link.Status()
			return s.State == datatransfer.Live && s.Addr != old.Addr()
		})
	}
	fields := map[string]any{"command": Stop, "camera": "cam1"}
	if a := commandOf(t, cfg, fields); len(a.Replies) != 2 || a.Namesakes() != 2 {
		t.Errorf("got %d answers, want both", len(a.Replies))
	}
	if n := len(one.effects()) + len(two.effects()); n != 0 {
		t.Errorf("%d effects, want none", n)
	}
	for _, c := range []*controller{one, two} {
		if c.said("another controller") != 1 || c.said("to itself again") != 0 {
			t.Errorf("it was said %d times, and that it was over %d times, want once and never", c.said("another controller"), c.said("to itself again"))
		}
	}
	two.stop()
	eventually(t, "the one that is left to obey", func() bool {
		a := commandOf(t, cfg, fields)
		return a.Replies[0].Status == OK
	})
	if len(one.effects()) != 1 || one.said("to itself again") != 1 {
		t.Errorf("got effects %v, and that it was over was said %d times", one.effects(), one.said("to itself again"))
	}
}

// Rights to exactly the channels of one box are enough.
func TestNamesakesNeedNoFurtherRights(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t, redistest.WithACL("user default on nopass ~* &* +@all",
		"user box on >pw resetchannels &control/box1 &control-reply/box1 &probe/box1/* +subscribe +publish"))
	password := t.TempDir() + "/password"
	if err := os.WriteFile(password, []byte("pw"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := redisconn.Default()
	cfg.URL = server.URL()
	caller := cfg
	cfg.Username, cfg.PasswordFile = "box", password
	one, two := begin(t, cfg), begin(t, cfg)
	eventually(t, "both to notice", func() bool { return len(one.names.Others()) == 1 && len(two.names.Others()) == 1 })
	a := commandOf(t, caller, map[string]any{"command": Stop, "camera": "cam1", "instance": one.names.Self().Instance})
	if len(a.Replies) != 1 || a.Replies[0].Status != OK || len(one.effects()) != 1 || len(two.effects()) != 0 {
		t.Errorf("got %+v, effects %v and %v", a, one.effects(), two.effects())
	}
	if one.names.Leave(one.link.Session()); len(one.names.Others()) != 1 {
		t.Error("who leaves knows the other no more")
	}
	eventually(t, "the other to know", func() bool { return len(two.names.Others()) == 0 })
	if log, _ := server.Do("ACL", "LOG").([]any); len(log) != 0 {
		t.Errorf("denied: %v", log)
	}
}
