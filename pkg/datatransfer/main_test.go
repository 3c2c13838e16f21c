package datatransfer

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"framekeeper/internal/redistest"
	"framekeeper/pkg/redisconn"
)

func TestMain(m *testing.M) {
	redisconn.Quiet()
	flag.Parse()
	// Most tests wait most of the time. What was asked for on the command line stays.
	if f := flag.Lookup("test.parallel"); f != nil && f.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = f.Value.Set("6")
	}
	goleak.VerifyTestMain(m)
}

// patient is the longest any condition may take; a test that needs it fails.
const patient = 20 * time.Second

// eventually waits until ok says so, looking often.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patient)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patient, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// fast is a configuration whose silence is short.
func fast(url string) redisconn.Config {
	c := redisconn.Default()
	c.URL = url
	c.CheckInterval, c.CheckTimeout = 100*time.Millisecond, 400*time.Millisecond
	return c
}

// unhurried is fast with all the patience: for tests in which no session may be
// lost but to what they do. A busy machine makes a probe late.
func unhurried(url string) redisconn.Config {
	c := fast(url)
	c.CheckTimeout, c.IOTimeout = patient, patient
	return c
}

// lines collects log lines.
type lines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// messages are the "message" fields, in order.
func (l *lines) messages() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, line := range strings.Split(strings.TrimSpace(l.buf.String()), "\n") {
		var f struct {
			Message string `json:"message"`
		}
		if json.Unmarshal([]byte(line), &f) == nil {
			out = append(out, f.Message)
		}
	}
	return out
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// hearer is a link that listens to one channel.
type hearer struct {
	*Link
	log  *lines
	stop func() // before the test ends

	mu    sync.Mutex // guards heard
	heard []string
}

const testChannel = "request/testcam"

// listen runs a link until the test ends.
func listen(t *testing.T, cfg redisconn.Config, more ...func(*LinkConfig)) *hearer {
	t.Helper()
	h := &hearer{log: &lines{}}
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
	eventually(t, "link is LIVE", func() bool { return h.Status().State == Live })
}

// hears publishes a message, and fails if the link never hears it. Redis keeps
// nothing for who is away, so that a link which was lost meanwhile (a busy
// machine may make a probe late) is told again.
func (h *hearer) hears(t *testing.T, c *redis.Client, message string) {
	t.Helper()
	told := uint64(0)
	eventually(t, "message "+message+" arrives", func() bool {
		if s := h.Status(); s.State == Live && s.Sessions > told {
			told = s.Sessions
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
	eventually(t, fmt.Sprintf("link is down because of %q", want), func() bool {
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

func needRedis(t *testing.T) {
	t.Helper()
	if err := redistest.Available(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}
