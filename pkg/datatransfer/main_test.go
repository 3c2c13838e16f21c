package datatransfer

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/pkg/redisconn"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// hearer is a link that listens to one channel.
type hearer struct {
	*Link
	log  *testkit.Log
	stop func() // before the test ends

	mu    sync.Mutex // guards heard
	heard []string
}

const testChannel = "request/testcam"

// listen runs a link until the test ends.
func listen(t *testing.T, cfg redisconn.Config, more ...func(*LinkConfig)) *hearer {
	t.Helper()
	h := &hearer{log: &testkit.Log{}}
	c := LinkConfig{
		Redis: cfg, Name: "testcam", Log: zerolog.New(h.log),
		Subscriptions: []Subscription{{Channel: testChannel, Handle: func(p []byte, _ time.Time) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.heard = append(h.heard, string(p))
		}}},
	}
	for _, f := range more {
		f(&c)
	}
	h.Link = NewLink(c)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Link.Run returned %v, want nil", err)
		}
	})
	t.Cleanup(func() {
		h.stop()
		if t.Failed() {
			t.Logf("log:\n%s", h.log)
		}
	})
	return h
}

func (h *hearer) has(message string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.heard {
		if m == message {
			return true
		}
	}
	return false
}

func (h *hearer) waitLive(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, "link is LIVE", func() bool { return h.Status().State == Live })
}

// hears publishes a message, and fails if the link never hears it. Redis keeps
// nothing for who is away, so that a link which was lost meanwhile (a busy
// machine may make a probe late) gets the message again.
func (h *hearer) hears(t *testing.T, c *redis.Client, message string) {
	t.Helper()
	sent := uint64(0)
	testkit.Eventually(t, "message "+message+" arrives", func() bool {
		if s := h.Status(); s.State == Live && s.Sessions > sent {
			sent = s.Sessions
			if err := c.Publish(context.Background(), testChannel, message).Err(); err != nil {
				t.Fatalf("publish: %v", err)
			}
		}
		return h.has(message)
	})
}

// waitCause waits until the link is not LIVE for this reason.
func (h *hearer) waitCause(t *testing.T, want ...redisconn.Cause) LinkStatus {
	t.Helper()
	var s LinkStatus
	testkit.Eventually(t, fmt.Sprintf("link is down because of %q", want), func() bool {
		s = h.Status()
		for _, c := range want {
			if s.State != Live && s.Cause == c {
				return true
			}
		}
		return false
	})
	return s
}
