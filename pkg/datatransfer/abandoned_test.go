package datatransfer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/redisconn"
)

// hang is something that blocks whoever comes, until it is let go.
type hang struct {
	entered atomic.Int32
	free    chan struct{}
}

func newHang(t *testing.T) *hang {
	h := &hang{free: make(chan struct{})}
	t.Cleanup(h.letGo)
	return h
}

func (h *hang) block() {
	h.entered.Add(1)
	<-h.free
}

func (h *hang) letGo() {
	select {
	case <-h.free:
	default:
		close(h.free)
	}
}

// A worker in a call that no context ends, such as a write to a hung disk, must
// not leave the agent deaf after the next loss of the connection.
func TestAWorkerThatDoesNotReturnIsLeftBehind(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	stuck := newHang(t)
	var others atomic.Int32
	h := listen(t, testkit.Fast(server.URL()), func(c *LinkConfig) {
		c.Workers = []Worker{
			{Name: "store", Run: func(context.Context, *Session) error { stuck.block(); return nil }},
			{Name: "other", Run: func(ctx context.Context, _ *Session) error { others.Add(1); <-ctx.Done(); return nil }},
		}
	})
	t.Cleanup(stuck.letGo) // before the link is waited for
	h.waitLive(t)
	testkit.Eventually(t, "the worker hangs", func() bool { return stuck.entered.Load() == 1 })
	for n := range 3 {
		before := h.Status().Outages
		server.KillClients("pubsub")
		testkit.Eventually(t, "the kill is noticed", func() bool { return h.Status().Outages > before })
		h.waitLive(t)
		h.hears(t, server.Client(), strings.Repeat("m", n+1))
	}
	if got := h.Status().Stuck; !slices.Equal(got, []string{"store"}) {
		t.Errorf("stuck parts are %q, want the one worker", got)
	}
	if n := stuck.entered.Load(); n != 1 {
		t.Errorf("the worker that hangs was run %d times at once", n)
	}
	testkit.Eventually(t, "the other worker to be run once in each session", func() bool { return uint64(others.Load()) == h.Status().Sessions })
	stuck.letGo()
	testkit.Eventually(t, "the worker runs again", func() bool { return stuck.entered.Load() == 2 && len(h.Status().Stuck) == 0 })
	if n := strings.Count(h.log.String(), "do not return"); n != 1 {
		t.Errorf("the hanging worker was logged %d times, want once:\n%s", n, h.log)
	}
}

// What hangs while a session looks around keeps it from being LIVE, as it must,
// and is in the status; the link goes on when it returns.
func TestAnAdmitThatDoesNotReturnIsLeftBehind(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	stuck := newHang(t)
	h := listen(t, testkit.Fast(server.URL()), func(c *LinkConfig) {
		c.Admit = func(context.Context, *Session) error { stuck.block(); return nil }
	})
	t.Cleanup(stuck.letGo)
	testkit.Eventually(t, "it hangs", func() bool { return stuck.entered.Load() == 1 })
	server.KillClients("pubsub")
	testkit.Eventually(t, "it is in the status", func() bool { return slices.Equal(h.Status().Stuck, []string{"admit"}) })
	stuck.letGo()
	h.waitLive(t)
}

// A Handle that blocks makes the subscription deaf. The probe notices; only a
// fresh process helps, so the link must end and say why.
func TestAHandleThatBlocksEndsTheLink(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	stuck := newHang(t)
	log := &testkit.Log{}
	l := NewLink(LinkConfig{Redis: testkit.Fast(server.URL()), Name: "testcam", Log: zerolog.New(log), Subscriptions: []Subscription{
		{Channel: testChannel, Handle: func([]byte, time.Time) { stuck.block() }},
	}})
	ended := make(chan error, 1)
	go func() { ended <- l.Run(context.Background()) }()
	testkit.Eventually(t, "link is LIVE", func() bool { return l.Status().State == Live })
	server.Do("PUBLISH", testChannel, "one")
	select {
	case err := <-ended:
		if !errors.Is(err, ErrStuck) || !strings.Contains(err.Error(), "receive") {
			t.Errorf("the link ended with %v, want %v and what is stuck", err, ErrStuck)
		}
	case <-time.After(testkit.Patience):
		t.Fatal("the link is deaf and does not end")
	}
	stuck.letGo()
}

// A file that cannot be read because its disk hangs. Here it is a lease: whoever
// opens the file waits until its holder lets go, or for 45 s.
func TestAHangingPasswordFileIsToldAndHeals(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	cfg := testkit.Fast(server.URL())
	cfg.PasswordFile = filepath.Join(t.TempDir(), "password")
	held, err := os.Create(cfg.PasswordFile)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if _, err := unix.FcntlInt(held.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skipf("no leases on this file system: %v", err)
	}
	h := listen(t, cfg)
	s := h.waitCause(t, redisconn.CauseConfig)
	if !strings.Contains(s.Detail, "password_file") {
		t.Errorf("the status says %q, want which file", s.Detail)
	}
	if _, err := unix.FcntlInt(held.Fd(), unix.F_SETLEASE, unix.F_UNLCK); err != nil {
		t.Fatal(err)
	}
	h.waitLive(t)
}
