// Package linktest runs a link to a real Redis for a test.
package linktest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

// Channel is what every Listener is subscribed to.
const Channel = "request/testcam"

// Listener is a link that is subscribed to one channel.
type Listener struct {
	*datatransfer.Link
	Log  *testkit.Log
	Stop func() // before the test ends

	mu    sync.Mutex // guards heard
	heard []string
}

// Listen runs a link until the test ends.
func Listen(t *testing.T, cfg redisconn.Config, more ...func(*datatransfer.LinkConfig)) *Listener {
	t.Helper()
	h := &Listener{Log: &testkit.Log{}}
	c := datatransfer.LinkConfig{
		Redis: cfg, Name: "testcam", Log: zerolog.New(h.Log),
		Subscriptions: []datatransfer.Subscription{{Channel: Channel, Handle: func(p []byte, _ time.Time) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.heard = append(h.heard, string(p))
		}}},
	}
	for _, f := range more {
		f(&c)
	}
	h.Link = datatransfer.NewLink(c)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	h.Stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Link.Run returned %v, want nil", err)
		}
	})
	t.Cleanup(func() {
		h.Stop()
		if t.Failed() {
			t.Logf("log:\n%s", h.Log)
		}
	})
	return h
}

// Has reports whether a message has arrived.
func (h *Listener) Has(message string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Contains(h.heard, message)
}

// AwaitLive waits until the link is LIVE.
func (h *Listener) AwaitLive(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, "link is LIVE", func() bool { return h.Status().State == datatransfer.Live })
}

// Receives publishes a message, and fails if the link never receives it. Redis
// holds nothing for who is away, so that it is published again to a link which
// was lost meanwhile (a busy machine may make a probe late).
func (h *Listener) Receives(t *testing.T, c *redis.Client, message string) {
	t.Helper()
	sent := uint64(0)
	testkit.Eventually(t, "message "+message+" arrives", func() bool {
		if s := h.Status(); s.State == datatransfer.Live && s.Sessions > sent {
			sent = s.Sessions
			if err := c.Publish(context.Background(), Channel, message).Err(); err != nil {
				t.Fatalf("publish: %v", err)
			}
		}
		return h.Has(message)
	})
}

// AwaitCause waits until the link is not LIVE for one of these reasons.
func (h *Listener) AwaitCause(t *testing.T, want ...redisconn.Cause) datatransfer.LinkStatus {
	t.Helper()
	var s datatransfer.LinkStatus
	testkit.Eventually(t, fmt.Sprintf("link is down because of %q", want), func() bool {
		s = h.Status()
		return s.State != datatransfer.Live && slices.Contains(want, s.Cause)
	})
	return s
}
