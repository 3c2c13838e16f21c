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
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

// link runs a link until the test ends and waits until it is LIVE.
func link(t *testing.T, url, name string, sub datatransfer.Subscription, workers ...datatransfer.Worker) (*datatransfer.Link, func()) {
	t.Helper()
	cfg := redisconn.Default()
	cfg.URL = url
	l := datatransfer.NewLink(datatransfer.LinkConfig{
		Redis: cfg, Name: name, Log: zerolog.Nop(), Subscriptions: []datatransfer.Subscription{sub}, Workers: workers,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stop := sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return l, stop
}

func call(t *testing.T, url string, fields map[string]any) (wait func() *Reply) {
	t.Helper()
	c, err := NewCall("box1", fields)
	if err != nil {
		t.Fatal(err)
	}
	_, stop := link(t, url, "caller", c.Subscription(), c.Worker())
	return func() *Reply {
		t.Helper()
		defer stop()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		a, err := c.Wait(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Replies) != 1 {
			t.Fatalf("got %d answers, want one", len(a.Replies))
		}
		return a.Replies[0]
	}
}

// freeze stops the server until that has been noticed.
func freeze(s *redistest.Server, l *datatransfer.Link) {
	s.Freeze()
	for {
		changed := l.Changed()
		if l.Status().State != datatransfer.Live {
			break
		}
		<-changed
	}
	s.Thaw()
}

// A command is answered, and has one effect, through every fault of the link,
// wherever it strikes.
func TestThroughFaults(t *testing.T) {
	testkit.NeedRedis(t)
	for _, f := range []struct {
		name string
		hurt func(*redistest.Server, *datatransfer.Link)
	}{
		{"killed", func(s *redistest.Server, _ *datatransfer.Link) { s.Kill(); s.Restart() }},
		{"subscriptions killed", func(s *redistest.Server, _ *datatransfer.Link) { s.KillClients("pubsub") }},
		{"data connections killed", func(s *redistest.Server, _ *datatransfer.Link) { s.KillClients("normal") }},
		{"frozen", freeze},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			gate := make(chan struct{})
			d := &doer{block: map[string]chan struct{}{"cam1": gate}}
			s := newServer(t, d)
			l, _ := link(t, server.URL(), "box1", s.Subscription(s.rivals), s.Worker(), s.rivals.Worker())
			if err := l.WaitLive(t.Context()); err != nil {
				t.Fatal(err)
			}
			// It strikes while the command is carried out.
			wait := call(t, server.URL(), map[string]any{"command": "restart", "camera": "cam1"})
			testkit.Eventually(t, "the command", func() bool { return d.begun() == 1 })
			f.hurt(server, l)
			close(gate)
			if r := wait(); r.Status != OK || string(r.Result) != `{"n":1}` {
				t.Errorf("got %+v, want ok", r)
			}
			// It strikes before and around the command.
			hurt := make(chan struct{})
			go func() { defer close(hurt); f.hurt(server, l) }()
			wait = call(t, server.URL(), map[string]any{"command": "stop", "camera": "cam2"})
			if r := wait(); r.Status != OK || string(r.Result) != `{"n":2}` {
				t.Errorf("got %+v, want ok", r)
			}
			<-hurt
			if got := strings.Join(d.effects(), ", "); got != "restart cam1, stop cam2" {
				t.Errorf("got effects %s, want each once", got)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	testkit.NeedRedis(t)
	server := redistest.Start(t)
	c, err := NewCall("box1", map[string]any{"command": "status"})
	if err != nil {
		t.Fatal(err)
	}
	l, _ := link(t, server.URL(), "caller", c.Subscription(), c.Worker())
	if err := l.WaitLive(t.Context()); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the command to be sent", func() bool { return c.call.Receivers() == 0 })
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := c.Wait(ctx); err == nil || !strings.Contains(err.Error(), "no controller listens on control/box1") {
		t.Errorf("got %v, want that nobody listens", err)
	}
	if _, err := NewCall("box1", map[string]any{"command": "jump"}); err == nil {
		t.Error("an unknown command is not refused before it is sent")
	}
}

// An answer that Redis refuses is had as soon as Redis takes it.
func TestAnswersNotPermitted(t *testing.T) {
	testkit.NeedRedis(t)
	server := redistest.Start(t, redistest.WithACL("user default on nopass ~* &* +@all", "user box on >pw ~* &control/* &probe/* +@all"))
	d := &doer{}
	s := newServer(t, d)
	password := t.TempDir() + "/password"
	if err := os.WriteFile(password, []byte("pw"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := redisconn.Default()
	cfg.URL, cfg.Username, cfg.PasswordFile = server.URL(), "box", password
	l := datatransfer.NewLink(datatransfer.LinkConfig{
		Redis: cfg, Name: "box1", Log: zerolog.Nop(), Subscriptions: []datatransfer.Subscription{s.Subscription(s.rivals)}, Workers: []datatransfer.Worker{s.Worker(), s.rivals.Worker()},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	if err := l.WaitLive(t.Context()); err != nil {
		t.Fatal(err)
	}
	wait := call(t, server.URL(), map[string]any{"command": "stop", "camera": "cam1"})
	testkit.Eventually(t, "a refused answer", func() bool { s.answers.mu.Lock(); defer s.answers.mu.Unlock(); return s.answers.refused })
	server.Do("ACL", "SETUSER", "box", "&control-reply/*")
	if r := wait(); r.Status != OK || len(d.effects()) != 1 {
		t.Errorf("got %+v after %v, want ok and one effect", r, d.effects())
	}
}
