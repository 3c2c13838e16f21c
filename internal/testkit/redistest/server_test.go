package redistest

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// patient is the longest anything may take that is not measured.
const patient = 20 * time.Second

// within is a context that ends with the test or after d.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func set(t *testing.T, c *redis.Client, value string) {
	t.Helper()
	if err := c.Set(within(t, patient), "key", value, 0).Err(); err != nil {
		t.Fatalf("SET: %v", err)
	}
}

func TestKillAndRestart(t *testing.T) {
	t.Parallel()
	s := Start(t)
	c := s.Client()
	set(t, c, "old")
	addr, pid := s.Addr(), s.Pid()

	s.Kill()
	if _, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("dial a killed server: got %v, want connection refused", err)
	}
	begun := time.Now()
	s.Restart()
	at := s.AcceptedAt()
	if at.Before(begun) || at.After(time.Now()) {
		t.Errorf("AcceptedAt is %v after the restart began, want between 0 and now", at.Sub(begun))
	}
	if s.Addr() != addr || s.Pid() == pid {
		t.Errorf("after Restart: address %s, pid %d; want address %s and another pid than %d", s.Addr(), s.Pid(), addr, pid)
	}
	if err := c.Get(within(t, patient), "key").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("GET after a restart without persistence: got %v, want no value", err)
	}
}

// A restart must not be reported as accepted before it is, nor much later:
// recovery times are measured from there. A busy machine may hold up one of the
// two that are compared, but not each time.
func TestAcceptedAtIsTheFirstAccept(t *testing.T) {
	t.Parallel()
	s := Start(t)
	for tries := 1; ; tries++ {
		diff := acceptedOff(t, s)
		if diff <= 200*time.Millisecond {
			return
		}
		if tries == 4 {
			t.Fatalf("AcceptedAt is %v off the first accept seen by a busy dialler", diff)
		}
	}
}

// acceptedOff is how far AcceptedAt is off what a busy dialler sees.
func acceptedOff(t *testing.T, s *Server) time.Duration {
	t.Helper()
	s.Kill()
	var first time.Time
	var dialer sync.WaitGroup
	dialer.Go(func() {
		for first.IsZero() && t.Context().Err() == nil {
			if c, err := net.Dial("tcp", s.Addr()); err == nil {
				first = time.Now()
				_ = c.Close()
			}
		}
	})
	b := s.RestartAsync()
	<-b.Ready
	dialer.Wait()
	if b.ReadyAt().Before(b.AcceptedAt()) {
		t.Errorf("ready %v before accepted", b.AcceptedAt().Sub(b.ReadyAt()))
	}
	return b.AcceptedAt().Sub(first).Abs()
}

func TestPersistence(t *testing.T) {
	t.Parallel()
	for name, opt := range map[string]Option{"AOF after Kill": WithAOF("always"), "RDB after Stop": WithRDB()} {
		s := Start(t, opt)
		c := s.Client()
		set(t, c, "kept")
		if name == "AOF after Kill" {
			s.Kill()
		} else {
			s.Stop()
		}
		s.Restart()
		s.AwaitReady()
		if got, err := c.Get(within(t, patient), "key").Result(); got != "kept" {
			t.Errorf("%s: got %q, %v, want the value", name, got, err)
		}
	}
}

func TestRestartReturnsWhileLoading(t *testing.T) {
	t.Parallel()
	s := Start(t, WithRDB(), WithSlowLoading(time.Millisecond))
	s.Do("DEBUG", "POPULATE", "3000", "k", "2000")
	s.Stop()
	s.Restart()
	c := s.Client()
	if err := c.Ping(within(t, patient)).Err(); err == nil || !strings.HasPrefix(err.Error(), "LOADING") {
		t.Errorf("PING after Restart: got %v, want LOADING", err)
	}
	if at := s.Boot().ReadyAt(); !at.IsZero() {
		t.Errorf("ReadyAt is set while loading")
	}
	s.AwaitReady()
	if err := c.Ping(within(t, patient)).Err(); err != nil {
		t.Errorf("PING after AwaitReady: %v", err)
	}
}

func TestFreezeAndThaw(t *testing.T) {
	t.Parallel()
	s := Start(t)
	c := s.Client()
	set(t, c, "v")
	s.Freeze()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatalf("dial a frozen server: got %v, want the kernel to accept", err)
	}
	_ = conn.Close()
	var timeout net.Error
	if err := c.Get(within(t, 200*time.Millisecond), "key").Err(); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("GET from a frozen server: got %v, want it to time out", err)
	}
	s.Thaw()
	if err := c.Get(within(t, patient), "key").Err(); err != nil {
		t.Errorf("GET after Thaw: %v", err)
	}
	s.Freeze()
	s.Stop()
	if s.Running() {
		t.Error("a frozen server is running after Stop")
	}
}

func TestStartOnTakenPortFails(t *testing.T) {
	t.Parallel()
	s := Start(t)
	tb := &program{dir: t.TempDir()}
	defer tb.end()
	_, err := start(tb, settings{bind: "127.0.0.1", port: s.Port()})
	if err == nil || !strings.Contains(err.Error(), "Address already in use") {
		t.Errorf("start on a taken port: got %v, want the server's reason", err)
	}
}

func TestPortsStayReserved(t *testing.T) {
	t.Parallel()
	tb := &program{}
	ports := map[int]bool{}
	for range 20 {
		port := FreePort(tb)
		if ports[port] {
			t.Errorf("port %d was given twice", port)
		}
		ports[port] = true
		if _, err := reserve("port", port); err == nil {
			t.Errorf("port %d could be reserved again", port)
		}
	}
	free := FreePort(t)
	if s := Start(t, WithPort(free)); s.Port() != free {
		t.Errorf("server on port %d, want %d", s.Port(), free)
	}
	tb.end()
	for port := range ports {
		r, err := reserve("port", port)
		if err != nil {
			t.Errorf("after the end: %v", err)
		}
		r.release()
	}
}
