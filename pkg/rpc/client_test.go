package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/linktest"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

const streamTopic = "stream/testcam"

// asker is a link with a requester.
type asker struct {
	*linktest.Listener
	*Client

	mu        sync.Mutex // guards the counts
	delivered int        // answers that found who asked
	strangers int        // and those that found nobody
}

func newAsker(t *testing.T, cfg redisconn.Config) *asker {
	t.Helper()
	a := &asker{Client: NewClient(ClientConfig{
		Camera: "testcam", RequestTopic: linktest.Channel, Timeout: 5 * time.Second,
	})}
	a.Listener = linktest.Listen(t, cfg, func(c *datatransfer.LinkConfig) {
		c.Subscriptions = []datatransfer.Subscription{{Channel: streamTopic, Handle: func(p []byte, _ time.Time) {
			m, err := frame.ParseMessage(p)
			if err != nil {
				t.Errorf("answer: %v", err)
				return
			}
			found := a.Deliver(m)
			a.mu.Lock()
			defer a.mu.Unlock()
			if found {
				a.delivered++
			} else {
				a.strangers++
			}
		}}}
		c.Workers = []datatransfer.Worker{a.Worker()}
	})
	return a
}

func (a *asker) counts() (delivered, strangers int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.delivered, a.strangers
}

// answerer answers what is asked on the request channel as reply says: how
// often, and with which error. It returns the requests as they came.
func answerer(t *testing.T, c *redis.Client, reply func(n int) (copies int, reason string)) func() []string {
	t.Helper()
	ps := c.Subscribe(context.Background(), linktest.Channel)
	if _, err := ps.Receive(context.Background()); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex // guards asked
	var asked []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, err := ps.ReceiveMessage(context.Background())
			if err != nil {
				return
			}
			mu.Lock()
			asked = append(asked, m.Payload)
			n := len(asked)
			mu.Unlock()
			h := frame.Header{Camera: "testcam", ID: frame.ID{Epoch: 100, Seq: uint64(n)}, Status: frame.StatusOK, Request: json.RawMessage(m.Payload)}
			copies, reason := reply(n)
			if reason != "" {
				h.ID, h.Status, h.Error = frame.ID{}, frame.StatusError, reason
			}
			msg, err := frame.NewMessage(h, nil)
			if err != nil {
				t.Errorf("answer: %v", err)
				return
			}
			for range copies {
				if err := c.Publish(context.Background(), streamTopic, msg.Wire()).Err(); err != nil {
					t.Errorf("answer: %v", err)
				}
			}
		}
	}()
	t.Cleanup(func() { _ = ps.Close(); <-done })
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(asked)
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestEachAnswerOnceThoughPublishedTwice(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	answerer(t, server.Client(), func(int) (int, string) { return 2, "" })
	a := newAsker(t, testkit.Unhurried(server.URL()))
	a.AwaitLive(t)
	var asking sync.WaitGroup
	for i := range 50 {
		asking.Go(func() {
			m, err := a.Request(context.Background(), map[string]any{"angle": i})
			if err != nil {
				t.Errorf("request %d: %v", i, err)
				return
			}
			if !strings.Contains(string(m.Header.Request), fmt.Sprintf(`"angle":%d,`, i)) {
				t.Errorf("request %d got the answer to %s", i, m.Header.Request)
			}
		})
	}
	asking.Wait()
	testkit.Eventually(t, "every copy has arrived", func() bool { d, s := a.counts(); return d+s == 100 })
	if d, s := a.counts(); d != 50 || s != 50 {
		t.Errorf("%d answers were delivered and %d found nobody, want 50 of each", d, s)
	}
	if len(a.caller.calls) != 0 {
		t.Errorf("%d requests are still open", len(a.caller.calls))
	}
}

func TestALostAnswerIsAskedForAgain(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	asked := answerer(t, server.Client(), func(n int) (int, string) { return min(n-1, 1), "" }) // the first answer is lost
	a := newAsker(t, testkit.Fast(server.URL()))
	a.AwaitLive(t)
	began := time.Now()
	if _, err := a.Request(context.Background(), map[string]any{"id": "mine"}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < repeatAfter || took > repeatAfter+2*time.Second {
		t.Errorf("answered after %s, want soon after %s", took, repeatAfter)
	}
	got := asked() // three times where the second answer is late
	if len(got) < 2 || slices.ContainsFunc(got, func(r string) bool { return r != `{"id":"mine"}` }) {
		t.Errorf("asked %q, want the same request twice", got)
	}
}

// A frame may take seconds on a slow link; each repeat would bring it again.
func TestRepeatsBecomeRarer(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	asked := answerer(t, server.Client(), func(int) (int, string) { return 0, "" })
	a := newAsker(t, testkit.Fast(server.URL()))
	a.AwaitLive(t)
	if _, err := a.Request(within(t, 4*time.Second), nil); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("got %v, want %v", err, ErrNoAnswer)
	}
	if n := len(asked()); n < 3 || n > 4 {
		t.Errorf("asked %d times within 4s, want 4: at once, after 0.4, 1.2 and 2.8s", n)
	}
}

func TestARequestOutlivesASession(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	asked := answerer(t, server.Client(), func(n int) (int, string) { return n - 1, "" })
	a := newAsker(t, testkit.Fast(proxy.URL()))
	a.AwaitLive(t)
	var asking sync.WaitGroup
	asking.Go(func() {
		if _, err := a.Request(context.Background(), nil); err != nil {
			t.Errorf("request: %v", err)
		}
	})
	testkit.Eventually(t, "it was received", func() bool { return len(asked()) == 1 })
	proxy.CutAll()
	asking.Wait()
}

func TestExpiryNamesItsReason(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t, redistest.WithACL("user bob on >secret ~* &stream/* &probe/* +@all"))
	nowhere := newAsker(t, testkit.Fast(testkit.RedisURL(redistest.FreePort(t))))
	a := newAsker(t, testkit.Unhurried(server.URL()))
	cfg := testkit.Unhurried("redis://bob@" + server.Addr())
	cfg.PasswordFile = testkit.SecretFile(t, "secret")
	forbidden := newAsker(t, cfg)
	a.AwaitLive(t)
	forbidden.AwaitLive(t)
	for _, c := range []struct {
		who  *asker
		want string
	}{
		{nowhere, "could not be sent, there was no link to Redis"},
		{a, "no cam-agent listens for testcam on " + linktest.Channel},
		{forbidden, "NOPERM"},
	} {
		_, err := c.who.Request(within(t, time.Second), nil)
		if !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %v: %s", err, ErrNoAnswer, c.want)
		}
	}
	if s := forbidden.Status(); s.Outages != 0 {
		t.Errorf("the link was lost %d times because a channel is not permitted", s.Outages)
	}
	answerer(t, server.Client(), func(int) (int, string) { return 0, "" })
	_, err := a.Request(within(t, time.Second), nil)
	if !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), "testcam did not answer in time") {
		t.Errorf("got %v, want that it did not answer in time", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := a.Request(ctx, nil); !errors.Is(err, context.Canceled) || errors.Is(err, ErrNoAnswer) {
		t.Errorf("a cancelled request got %v, want %v", err, context.Canceled)
	}
}

func TestAnErrorReplyIsAReplyError(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	answerer(t, server.Client(), func(int) (int, string) { return 1, "camera stalled" })
	a := newAsker(t, testkit.Fast(server.URL()))
	a.AwaitLive(t)
	m, err := a.Request(context.Background(), map[string]any{"angle": 25})
	var refused *ReplyError
	if !errors.As(err, &refused) || refused.Reason != "camera stalled" || m == nil || m.Header.Status != frame.StatusError {
		t.Errorf("got %v and %v, want the reason and the reply", m, err)
	}
}

func TestOneIDIsAskedOnceAtATime(t *testing.T) {
	t.Parallel()
	r := NewClient(ClientConfig{Camera: "testcam", RequestTopic: linktest.Channel, Timeout: 2 * time.Second})
	fields := map[string]any{"id": "same"}
	first := make(chan error, 1)
	go func() { _, err := r.Request(context.Background(), fields); first <- err }()
	testkit.Eventually(t, "the first one is open", func() bool { r.caller.mu.Lock(); defer r.caller.mu.Unlock(); return len(r.caller.calls) == 1 })
	if _, err := r.Request(context.Background(), fields); err == nil || !strings.Contains(err.Error(), "already waiting") {
		t.Errorf("the second request got %v", err)
	}
	if err := <-first; !errors.Is(err, ErrNoAnswer) {
		t.Errorf("the first request got %v, want %v after its own timeout", err, ErrNoAnswer)
	}
	if len(fields) != 1 {
		t.Errorf("the caller's fields were changed: %v", fields)
	}
	if _, err := r.Request(context.Background(), map[string]any{"bad": make(chan int)}); err == nil {
		t.Error("a request that is no JSON was taken")
	}
}

// Ten requests at once cost one round trip, not ten.
func TestRequestsDoNotQueueForTheLine(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	answerer(t, server.Client(), func(int) (int, string) { return 1, "" })
	proxy := redistest.NewProxy(t, server.Addr())
	cfg := testkit.Fast(proxy.URL())
	cfg.CheckTimeout = 5 * time.Second
	a := newAsker(t, cfg)
	a.AwaitLive(t)
	proxy.Delay(redistest.Both, 200*time.Millisecond)
	began := time.Now()
	var asking sync.WaitGroup
	for range 10 {
		asking.Go(func() {
			if _, err := a.Request(context.Background(), nil); err != nil {
				t.Errorf("request: %v", err)
			}
		})
	}
	asking.Wait()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("10 requests over 400 ms of line took %s, want two or three round trips", took)
	}
}

func TestAnswersOfNobodyAreNotTaken(t *testing.T) {
	t.Parallel()
	r := NewClient(ClientConfig{})
	for _, request := range []string{"", "25", `{"id":5}`, `{}`, `{"id":"unknown"}`} {
		if r.Deliver(&frame.Message{Header: frame.Header{Request: json.RawMessage(request)}}) {
			t.Errorf("an answer to %q found somebody", request)
		}
	}
}
