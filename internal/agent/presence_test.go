package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/internal/async"
	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

const statusKey, statusTopic = "status:testcam", "status/testcam"

// agentAt is a link with a presence, as one agent has it. It echoes every request but
// its own question once it is LIVE.
type agentAt struct {
	link *datatransfer.Link
	log  *testkit.Log
	end  func() error // stops it, for good
}

func present(t *testing.T, cfg redisconn.Config, instance, owner string, interval time.Duration) *agentAt {
	t.Helper()
	a := &agentAt{log: &testkit.Log{}}
	var n atomic.Int64
	p := &presence{presenceConfig: presenceConfig{
		Key: statusKey, Topic: statusTopic, Interval: interval, Instance: instance, Owner: owner, Change: async.NewWake(), Log: zerolog.New(a.log),
		Status: func() any { return identity{Instance: instance, Owner: owner, Host: "box", PID: 7, TimeUS: n.Add(1)} },
	}}
	i := newInquiry(camera.Config{RequestTopic: "request/testcam", StreamTopic: "stream/testcam"}, 0)
	i.wait = 500 * time.Millisecond
	echoes := make(chan []byte, 10)
	echo := datatransfer.Worker{Name: "echo", Run: func(ctx context.Context, s *datatransfer.Session) error {
		for {
			select {
			case e := <-echoes:
				if err := s.Data().Publish(ctx, i.answers, e).Err(); err != nil {
					return err
				}
			case <-ctx.Done():
				return nil
			}
		}
	}}
	a.link = datatransfer.NewLink(datatransfer.LinkConfig{
		Redis: cfg, Name: "testcam", Workers: []datatransfer.Worker{p.worker(), echo}, Log: zerolog.Nop(),
		Subscriptions: []datatransfer.Subscription{{Channel: i.requests, Handle: func(payload []byte, _ time.Time) {
			if !i.own(payload) {
				echoes <- payload
			}
		}}},
		Admit: func(ctx context.Context, s *datatransfer.Session) error {
			return p.admit(ctx, s.Data(), func(ctx context.Context) (bool, error) { return i.ask(ctx, s) })
		},
	})
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

// fakeRedis has one key, and what was published.
type fakeRedis struct {
	redis.Cmdable

	mu        sync.Mutex // guards all below while a presence runs
	value     string
	expires   time.Time // zero: never
	published []string
	refusal   error  // of GET and SET
	meanwhile func() // is called once before SET
}

func (r *fakeRedis) set(v any, ttl time.Duration) {
	text, _ := json.Marshal(v)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.value, r.expires = string(text), time.Time{}
	if ttl > 0 {
		r.expires = time.Now().Add(ttl)
	}
}

func (r *fakeRedis) Get(context.Context, string) *redis.StringCmd {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.expires.IsZero() && !time.Now().Before(r.expires) {
		r.value = ""
	}
	switch {
	case r.refusal != nil:
		return redis.NewStringResult("", r.refusal)
	case r.value == "":
		return redis.NewStringResult("", redis.Nil)
	}
	return redis.NewStringResult(r.value, nil)
}

func (r *fakeRedis) PTTL(context.Context, string) *redis.DurationCmd {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.expires.IsZero() {
		return redis.NewDurationResult(-1, nil)
	}
	return redis.NewDurationResult(time.Until(r.expires), nil)
}

func (r *fakeRedis) SetArgs(ctx context.Context, key string, value any, a redis.SetArgs) *redis.StatusCmd {
	if meanwhile := r.meanwhile; meanwhile != nil {
		r.meanwhile = nil
		meanwhile()
	}
	old, err := r.Get(ctx, key).Result()
	if r.refusal == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.value, r.expires = string(value.([]byte)), time.Now().Add(a.TTL)
	}
	return redis.NewStatusResult(old, err)
}

func (r *fakeRedis) Publish(_ context.Context, _ string, message any) *redis.IntCmd {
	r.published = append(r.published, string(message.([]byte)))
	return redis.NewIntResult(0, nil)
}

func (r *fakeRedis) Del(context.Context, ...string) *redis.IntCmd {
	r.value = ""
	return redis.NewIntResult(1, nil)
}

// presenceOf is i2's, of state directory o2.
func presenceOf(log *testkit.Log) *presence {
	var n int64
	return &presence{presenceConfig: presenceConfig{
		Key: statusKey, Topic: statusTopic, Interval: time.Second, Instance: "i2", Owner: "o2", Change: async.NewWake(), Log: zerolog.New(log),
		Status: func() any { n++; return identity{Instance: "i2", Owner: "o2", TimeUS: n} },
	}}
}

func TestPresenceRenewsItsStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, log := &fakeRedis{}, &testkit.Log{}
		p := presenceOf(log)
		ctx, cancel := context.WithTimeout(t.Context(), 9500*time.Millisecond)
		defer cancel()
		time.AfterFunc(4500*time.Millisecond, func() { p.Change.Call() })
		time.AfterFunc(6500*time.Millisecond, func() { // another agent shows itself, again and again
			r.set(identity{Instance: "i1", Owner: "o1", Host: "box", PID: 9}, time.Minute)
		})
		time.AfterFunc(7500*time.Millisecond, func() { r.set(identity{Instance: "i1", Owner: "o1", Host: "box", PID: 9}, time.Minute) })
		if err := p.run(ctx, r); err != nil {
			t.Fatal(err)
		}
		if len(r.published) != 11 || r.value != r.published[10] || time.Until(r.expires) != 2500*time.Millisecond {
			t.Errorf("published %q, the key holds %s for %v; want 11, the last for 3 s", r.published, r.value, time.Until(r.expires))
		}
		const message = "Another agent publishes its status under this camera's name: stop one of them"
		if n := testkit.Count(log.Messages(), message); n != 1 {
			t.Errorf("the rival was logged %d times, want once: %s", n, log)
		}
	})
}

// What Redis refuses is logged once; subscribers get the status all the same.
func TestPresenceWithARefusedKey(t *testing.T) {
	r, log := &fakeRedis{refusal: redisError("OOM")}, &testkit.Log{}
	p := presenceOf(log)
	for range 3 {
		if err := p.show(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if n := testkit.Count(log.Messages(), "Redis refuses the status"); n != 1 || len(r.published) != 3 {
		t.Errorf("%d statuses were published, and %d refusals logged; want 3 and 1", len(r.published), n)
	}
	r.refusal = io.ErrUnexpectedEOF
	if err := p.show(t.Context(), r); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a lost connection: got %v, want its error", err)
	}
}

// The status goes with its agent, and with nobody else.
func TestPresenceIsWithdrawn(t *testing.T) {
	r, p := &fakeRedis{}, presenceOf(&testkit.Log{})
	for _, instance := range []string{"i1", "i2"} {
		r.set(identity{Instance: instance}, time.Minute)
		if err := p.withdraw(t.Context(), r); err != nil || (r.value == "") != (instance == "i2") {
			t.Errorf("%s's status after the withdrawal of i2's: %q, %v", instance, r.value, err)
		}
	}
	if err := p.show(t.Context(), r); err != nil || r.value != "" || len(r.published) > 0 {
		t.Errorf("after its withdrawal it is shown again: %q, %v", r.value, err)
	}
}
