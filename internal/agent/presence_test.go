package agent

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/internal/async"
	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/redisconn"
)

const statusKey, statusTopic = "status:testcam", "status/testcam"

// agentAt is a link with a Presence, as one agent has it.
type agentAt struct {
	link   *datatransfer.Link
	log    *testkit.Log
	change async.Wake
	end    func() error // stops it, for good
}

func present(t *testing.T, cfg redisconn.Config, instance, owner string, interval time.Duration) *agentAt {
	t.Helper()
	a := &agentAt{log: &testkit.Log{}, change: async.NewWake()}
	var n atomic.Int64
	p := newPresence(presenceConfig{
		Key: statusKey, Topic: statusTopic, Interval: interval, Instance: instance, Owner: owner, Change: a.change, Log: zerolog.New(a.log),
		Status: func() any { return identity{Instance: instance, Owner: owner, Host: "box", PID: 7, TimeUS: n.Add(1)} },
	})
	a.link = datatransfer.NewLink(datatransfer.LinkConfig{Redis: cfg, Name: "testcam", Admit: p.admit, Workers: []datatransfer.Worker{p.worker()}, Log: zerolog.Nop()})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.link.Run(ctx) }()
	var result error
	var ended atomic.Bool
	a.end = func() error {
		if ended.CompareAndSwap(false, true) {
			cancel()
			result = <-done
		}
		return result
	}
	t.Cleanup(func() { _ = a.end() })
	return a
}

func (a *agentAt) waitLive(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, "the agent is LIVE", func() bool { return a.link.Status().State == datatransfer.Live })
}

func shown(t *testing.T, c *redis.Client) (w identity) {
	t.Helper()
	text, err := c.Get(context.Background(), statusKey).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	_ = json.Unmarshal([]byte(text), &w)
	return w
}

func TestPresenceIsShownAndExpires(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	c := server.Client()
	ps := c.Subscribe(context.Background(), statusTopic)
	defer func() { _ = ps.Close() }()
	if _, err := ps.Receive(context.Background()); err != nil {
		t.Fatal(err)
	}
	a := present(t, testkit.Fast(server.URL()), "i1", "o1", 200*time.Millisecond)
	first, second := <-ps.Channel(), <-ps.Channel() //nolint:staticcheck // a test's own subscription
	if first.Payload == second.Payload || shown(t, c).Instance != "i1" {
		t.Errorf("published %s, then %s; the key holds %+v", first.Payload, second.Payload, shown(t, c))
	}
	if err := a.end(); err != nil {
		t.Errorf("Run returned %v", err)
	}
	testkit.Eventually(t, "a dead agent's status expires", func() bool { return shown(t, c).Instance == "" })
}

func TestASecondAgentIsRefused(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	first := present(t, testkit.Unhurried(server.URL()), "i1", "o1", 200*time.Millisecond)
	first.waitLive(t)
	testkit.Eventually(t, "the first one shows itself", func() bool { return shown(t, server.Client()).Instance == "i1" })
	second := present(t, testkit.Fast(server.URL()), "i2", "o2", 200*time.Millisecond)
	testkit.Eventually(t, "the second one gives up", func() bool {
		return second.link.Status().State == datatransfer.Down && second.link.Status().Detail != ""
	})
	if err := second.end(); !errors.Is(err, outbox.ErrClaimed) {
		t.Errorf("the second agent's Run returned %v, want %v", err, outbox.ErrClaimed)
	}
	if s := first.link.Status(); s.Outages != 0 || s.State != datatransfer.Live {
		t.Errorf("the first agent is %+v, want unharmed", s)
	}
	if got := shown(t, server.Client()).Instance; got != "i1" {
		t.Errorf("the status is %q's, want the first agent's", got)
	}
}

// Two boxes made from one image have the same host name, the same state
// directory and hardly the same process numbers.
func TestASecondBoxOfOneImageIsRefused(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	server := redistest.Start(t)
	stop := make(chan struct{})
	var renewing sync.WaitGroup
	renew := func(n int64) {
		first, _ := json.Marshal(identity{Instance: "i1", Owner: "o", Host: host, PID: 1 << 22, Boot: "another box", TimeUS: n})
		_ = server.Client().Set(context.Background(), statusKey, first, time.Minute).Err() // the test sees what comes of it
	}
	renew(1)
	renewing.Go(func() {
		for n := int64(2); ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
				renew(n)
			}
		}
	})
	defer renewing.Wait()
	defer close(stop)
	second := present(t, testkit.Fast(server.URL()), "i2", "o", time.Minute)
	testkit.Eventually(t, "the second one gives up", func() bool {
		return second.link.Status().State == datatransfer.Down && second.link.Status().Detail != ""
	})
	if err := second.end(); !errors.Is(err, outbox.ErrClaimed) {
		t.Errorf("the second box's Run returned %v, want %v", err, outbox.ErrClaimed)
	}
}

func TestADeadPredecessorIsTakenOver(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for name, d := range map[string]struct {
		owner string
		ttl   time.Duration
		low   time.Duration
		high  time.Duration
	}{
		"same state directory":   {"o2", time.Minute, 0, 15 * time.Second},
		"another one":            {"o1", 1500 * time.Millisecond, time.Second, 15 * time.Second},
		"one that never expires": {"o1", 0, 0, 15 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			old, _ := json.Marshal(identity{Instance: "i1", Owner: d.owner, Host: "box", TimeUS: 1})
			began := time.Now()
			if err := server.Client().Set(context.Background(), statusKey, old, d.ttl).Err(); err != nil {
				t.Fatal(err)
			}
			a := present(t, testkit.Fast(server.URL()), "i2", "o2", time.Minute)
			a.waitLive(t)
			if took := time.Since(began); took < d.low || took > d.high {
				t.Errorf("LIVE after %s, want %s to %s", took, d.low, d.high)
			}
			testkit.Eventually(t, "the new agent shows itself", func() bool { return shown(t, server.Client()).Instance == "i2" })
		})
	}
}

func TestARivalIsNoticedOnce(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	a := present(t, testkit.Fast(server.URL()), "i1", "o1", 50*time.Millisecond)
	a.waitLive(t)
	const message = "Another agent publishes its status under this camera's name: stop one of them"
	rival, _ := json.Marshal(identity{Instance: "i2", Owner: "o2", Host: "elsewhere", PID: 9})
	c := server.Client()
	show := func() {
		if err := c.Set(context.Background(), statusKey, rival, time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "the rival is noticed", func() bool { show(); return testkit.Count(a.log.Messages(), message) > 0 })
	for range 20 { // it shows itself again and again
		show()
		time.Sleep(20 * time.Millisecond)
	}
	if n := testkit.Count(a.log.Messages(), message); n != 1 {
		t.Errorf("the rival was logged %d times, want once: %s", n, a.log)
	}
}

// Under OOM the key cannot be set, but subscribers get the status with the reason.
func TestTheStatusIsPublishedThoughItCannotBeSet(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	a := present(t, testkit.Unhurried(server.URL()), "i1", "o1", 100*time.Millisecond)
	a.waitLive(t)
	server.ConfigSet("maxmemory", "1")
	testkit.Eventually(t, "the refusal is logged", func() bool { return testkit.Count(a.log.Messages(), "Redis refuses the status") == 1 })
	ps := server.Client().Subscribe(context.Background(), statusTopic)
	defer func() { _ = ps.Close() }()
	if _, err := ps.Receive(context.Background()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if m, err := ps.ReceiveTimeout(context.Background(), testkit.Patience); err != nil {
			t.Fatalf("no status is published under OOM: %v", err)
		} else if _, ok := m.(*redis.Message); !ok {
			t.Fatalf("received %v", m)
		}
	}
	if n := testkit.Count(a.log.Messages(), "Redis refuses the status"); n != 1 {
		t.Errorf("the refusal was logged %d times, want once", n)
	}
	server.ConfigSet("maxmemory", "0")
	testkit.Eventually(t, "the status is set again", func() bool { return shown(t, server.Client()).Instance == "i1" })
	if s := a.link.Status(); s.Outages != 0 {
		t.Errorf("the link was lost %d times, want never", s.Outages)
	}
}

func TestAChangeShowsTheStatusNow(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	a := present(t, testkit.Fast(server.URL()), "i1", "o1", time.Minute)
	a.waitLive(t)
	testkit.Eventually(t, "the first status", func() bool { return shown(t, server.Client()).TimeUS == 1 })
	a.change.Call()
	testkit.Eventually(t, "the second status", func() bool { return shown(t, server.Client()).TimeUS == 2 })
}
