package redisserver

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"framekeeper/internal/status"
	"framekeeper/internal/testkit/proctest"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/redisconn"
)

func TestMain(m *testing.M) {
	redisconn.Quiet()
	goleak.VerifyTestMain(m)
}

// logged collects log lines.
type logged struct{ proctest.Output }

// scene is one server under test.
type scene struct {
	*testing.T
	server *Server
	log    *logged
	stop   func()
}

func begin(t *testing.T, o Options) *scene {
	t.Helper()
	if err := redistest.Available(); err != nil {
		t.Skip(err)
	}
	log := &logged{}
	logger := zerolog.New(log)
	o.Log = func() *zerolog.Logger { return &logger }
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "redis")
	}
	s, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
	})
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("the log:\n%s", log)
		}
	})
	return &scene{T: t, server: s, log: log, stop: stop}
}

func (s *scene) await(what string, ok func(status.RedisServer) bool) status.RedisServer {
	s.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		got := s.server.Status()
		if ok(got) {
			return got
		}
		if time.Now().After(deadline) {
			s.Fatalf("waited 30 s in vain for %s; got %+v", what, got)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *scene) awaitRunning() status.RedisServer {
	s.Helper()
	return s.await("a server that answers", func(st status.RedisServer) bool { return st.State == status.ProcessRunning })
}

func (s *scene) awaitLog(text string) {
	s.Helper()
	s.await("the log line "+text, func(status.RedisServer) bool { return strings.Contains(s.log.String(), text) })
}

// client is one of the programs, with what the configuration gives it.
func client(t *testing.T, cfg redisconn.Config) *redis.Client {
	t.Helper()
	target, err := redisconn.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := target.Client(redisconn.Data)
	t.Cleanup(func() {
		_ = c.Close()
		target.Close()
	})
	return c
}

func freeURL(t *testing.T, host string) (cfg redisconn.Config) {
	t.Helper()
	cfg = redisconn.Default()
	cfg.URL, cfg.Embedded = "redis://"+net.JoinHostPort(host, strconv.Itoa(redistest.FreePort(t)))+"/0", true
	return cfg
}

func passwordFile(t *testing.T, password string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestServesWithItsBounds(t *testing.T) {
	cfg := freeURL(t, "127.0.0.1")
	s := begin(t, Options{Redis: cfg, Memory: MemoryFor(8<<20, 1<<20, 2<<20), Frame: 2 << 20})
	got := s.awaitRunning()
	c := client(t, cfg)
	for key, want := range map[string]string{
		"maxmemory": fmt.Sprint((2*(8<<20)+8*(3<<20))*5/4 + headroom), "maxmemory-policy": "noeviction", "save": "", "appendonly": "no", "bind": "127.0.0.1",
		"client-output-buffer-limit": fmt.Sprintf("normal 0 0 0 slave 268435456 67108864 60 pubsub %d %d 60", 32<<20, 8<<20),
	} {
		got, err := c.ConfigGet(t.Context(), key).Result()
		if err != nil || got[key] != want {
			t.Errorf("%s: got %q, %v, want %q", key, got[key], err, want)
		}
	}
	for _, command := range [][]any{{"SHUTDOWN"}, {"CONFIG", "SET", "dir", "/"}, {"REPLICAOF", "127.0.0.1", "1"}, {"SAVE"}, {"ACL", "LIST"}, {"DEBUG", "SEGFAULT"}, {"CLIENT", "PAUSE", "1", "WRITE"}} {
		if err := c.Do(t.Context(), command...).Err(); err == nil || !strings.Contains(err.Error(), "NOPERM") && !strings.Contains(err.Error(), "not allowed") {
			t.Errorf("%v: got %v, want a refusal", command, err)
		}
	}
	for _, command := range [][]any{{"CLIENT", "SETNAME", "a"}, {"CLIENT", "LIST"}, {"CLIENT", "KILL", "TYPE", "pubsub"}} {
		if err := c.Do(t.Context(), command...).Err(); err != nil {
			t.Errorf("%v: got %v, want it done", command, err)
		}
	}
	for _, file := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", got.PID, file))
		if err != nil || strings.Contains(string(text), "FRAMEKEEPER") || strings.Contains(string(text), "user ") {
			t.Errorf("%s: got %q, %v", file, text, err)
		}
	}
	s.await("what it has in use", func(st status.RedisServer) bool { return st.Used > 100<<10 && st.Used < st.Memory })
	s.stop()
	if st := s.server.Status(); st.State != status.ProcessStopped || st.Used != 0 {
		t.Errorf("after the end: got %+v, want stopped and nothing in use", st)
	}
	if err := syscall.Kill(-got.PID, 0); err == nil {
		t.Error("the process group is still there after the end")
	}
	if files, err := os.ReadDir(s.server.opt.Dir); err != nil || len(files) != 0 {
		t.Errorf("got %v, %v, want nothing on disk", files, err)
	}
}

func TestKilledServerReturns(t *testing.T) {
	s := begin(t, Options{Redis: freeURL(t, "127.0.0.1")})
	first := s.awaitRunning()
	if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	again := s.await("another process", func(st status.RedisServer) bool { return st.State == status.ProcessRunning && st.PID != first.PID })
	if again.Restarts != 1 || !strings.Contains(again.LastExit, "signal: killed") {
		t.Errorf("got %+v, want one restart after a kill", again)
	}
}

func TestHungServerIsReplaced(t *testing.T) {
	s := begin(t, Options{Redis: freeURL(t, "127.0.0.1"), HangTimeout: 400 * time.Millisecond})
	first := s.awaitRunning()
	if err := syscall.Kill(first.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	again := s.await("another process", func(st status.RedisServer) bool { return st.State == status.ProcessRunning && st.PID != first.PID })
	if again.Hangs != 1 || !strings.Contains(again.LastExit, "did not answer") {
		t.Errorf("got %+v, want one hang", again)
	}
	if err := syscall.Kill(first.PID, 0); err == nil {
		t.Error("the hung process is still there")
	}
}

// A script that does not end leaves the server able to say so, and nothing else.
func TestServerWithAnEndlessScriptIsReplaced(t *testing.T) {
	cfg := freeURL(t, "127.0.0.1")
	// Redis says BUSY after 5 s, and nothing before.
	s := begin(t, Options{Redis: cfg, Memory: MemoryFor(1<<20, 0), HangTimeout: 6 * time.Second})
	s.awaitRunning()
	looping, user := make(chan error, 1), client(t, cfg)
	go func() {
		looping <- user.Eval(t.Context(), "redis.call('SET', 'a', 1) while true do end", nil).Err()
	}()
	got := s.await("a fresh server", func(st status.RedisServer) bool { return st.Restarts == 1 && st.State == status.ProcessRunning })
	if got.Hangs != 1 || !strings.Contains(got.LastExit, "did not answer for 6s") {
		t.Errorf("got %+v, want one hang", got)
	}
	if err := <-looping; err == nil {
		t.Error("the script has ended by itself")
	}
	if err := client(t, cfg).Set(t.Context(), "b", 1, 0).Err(); err != nil {
		t.Errorf("the fresh server does not serve: %v", err)
	}
}

// A changed password restarts the server, which holds nothing that agents do not
// add again.
func TestPasswordAndItsRotation(t *testing.T) {
	cfg := freeURL(t, "127.0.0.1")
	cfg.Username, cfg.PasswordFile = "bob", passwordFile(t, "first")
	s := begin(t, Options{Redis: cfg, HangTimeout: 400 * time.Millisecond}) // looks often
	s.awaitRunning()
	if err := client(t, cfg).Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Errorf("with the password: %v", err)
	}
	stranger := cfg
	stranger.Username, stranger.PasswordFile = "", ""
	if err := client(t, stranger).Get(t.Context(), "k").Err(); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("without a password: got %v, want NOAUTH", err)
	}
	if err := os.WriteFile(cfg.PasswordFile, []byte("second\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := s.await("another process", func(st status.RedisServer) bool { return st.State == status.ProcessRunning && st.Restarts == 1 })
	if got.Hangs != 0 || got.LastExit != "" {
		t.Errorf("got %+v, want a restart that is no fault", got)
	}
	if err := client(t, cfg).Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Errorf("with the new password: %v", err)
	}
	old := cfg
	old.PasswordFile = passwordFile(t, "first")
	if err := client(t, old).Get(t.Context(), "k").Err(); err == nil {
		t.Error("the old password still opens")
	}
}

func TestUnixSocket(t *testing.T) {
	cfg := redisconn.Default()
	socket := filepath.Join(t.TempDir(), "r.sock")
	if err := os.WriteFile(socket, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.URL, cfg.Embedded = "unix://"+socket, true
	s := begin(t, Options{Redis: cfg})
	s.awaitLog("no socket: remove it")
	if text, err := os.ReadFile(socket); err != nil || string(text) != "precious" {
		t.Errorf("the file in the way: got %q, %v, want it untouched", text, err)
	}
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	first := s.awaitRunning()
	if err := client(t, cfg).Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil { // leaves its socket
		t.Fatal(err)
	}
	s.await("another process", func(st status.RedisServer) bool { return st.State == status.ProcessRunning && st.PID != first.PID })
}

func TestAddressInUse(t *testing.T) {
	cfg := freeURL(t, "127.0.0.1")
	l, err := net.Listen("tcp", strings.TrimSuffix(strings.TrimPrefix(cfg.URL, "redis://"), "/0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := begin(t, Options{Redis: cfg})
	got := s.await("a reason", func(st status.RedisServer) bool { return st.State == status.ProcessWaiting })
	if !strings.Contains(got.LastExit, "another program listens on 127.0.0.1") || !strings.Contains(got.LastExit, "systemctl disable") {
		t.Errorf("got %q, want who is in the way and what to do", got.LastExit)
	}
	_ = l.Close()
	s.awaitRunning()
	if n := strings.Count(s.log.String(), `"level":"warn"`); n != 1 {
		t.Errorf("logged %d times, want once", n)
	}
}

// An address that others reach needs a password, and is the only one taken.
func TestOtherAddress(t *testing.T) {
	own, err := ownAddresses()
	if err != nil || !hasNetwork(own) {
		t.Skipf("this machine has no address but its own loopback: %v", err)
	}
	var host string
	for _, a := range own {
		if !a.IsLoopback() && !a.IsLinkLocalUnicast() {
			host = a.String()
			break
		}
	}
	cfg := freeURL(t, host)
	cfg.PasswordFile = passwordFile(t, "")
	s := begin(t, Options{Redis: cfg})
	s.awaitLog("is for others to reach, and password_file")
	if err := os.WriteFile(cfg.PasswordFile, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.awaitRunning()
	if err := client(t, cfg).Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
	stranger := cfg
	stranger.PasswordFile = ""
	if err := client(t, stranger).Ping(t.Context()).Err(); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("without a password: got %v, want NOAUTH", err)
	}
	local := cfg
	e, err := endpointOf(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	local.URL = "redis://127.0.0.1:" + e.port
	if err := client(t, local).Ping(t.Context()).Err(); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("on loopback: got %v, want nobody there", err)
	}
}

func TestRefusals(t *testing.T) {
	cfg := redisconn.Default()
	cfg.URL, cfg.Embedded = "redis://203.0.113.7:6379", true // an address for documents
	own, err := ownAddresses()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), Options{Redis: cfg}); hasNetwork(own) && (err == nil || !strings.Contains(err.Error(), "not an address of this box")) {
		t.Errorf("a remote address: got %v", err)
	}
	cfg.URL, cfg.Username = "redis://127.0.0.1", "a b"
	if _, err := New(t.Context(), Options{Redis: cfg}); err == nil || !strings.Contains(err.Error(), "redis.username") {
		t.Errorf("a name with a space: got %v", err)
	}
}

// A server that ends at once is tried ever more slowly, and logged twice.
func TestCrashLoop(t *testing.T) {
	bin := t.TempDir()
	script := "#!/bin/sh\ncat >/dev/null\necho 'no such luck' >&2\necho '1:M 27 Nov 2026 20:37:42.945 # WARNING Memory overcommit must be enabled!' >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(bin, program), []byte(script), 0o755); err != nil { //nolint:gosec // to be run
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	s := begin(t, Options{Redis: freeURL(t, "127.0.0.1"), BackoffMin: time.Millisecond, BackoffMax: 5 * time.Millisecond})
	got := s.await("ten restarts", func(st status.RedisServer) bool { return st.Restarts >= 10 })
	if !strings.Contains(got.LastExit, "exit status 1: no such luck") {
		t.Errorf("got %q, want how it ended and what it said", got.LastExit)
	}
	if n := strings.Count(s.log.String(), "is in a crash loop"); n != 1 {
		t.Errorf("the loop was logged %d times, want once", n)
	}
}

func TestUsedMemory(t *testing.T) {
	for info, want := range map[string]int64{
		"# Memory\r\nused_memory:1048576\r\nused_memory_human:1.00M\r\n": 1 << 20,
		"used_memory:12":                    12,
		"used_memory:much\r\n":              0,
		"# Memory\r\nused_memory_rss:5\r\n": 0,
		"":                                  0,
	} {
		if got := usedMemory(info); got != want {
			t.Errorf("%q: got %d, want %d", info, got, want)
		}
	}
}
