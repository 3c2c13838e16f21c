package redisconn

import (
	"context"
	"flag"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"framekeeper/internal/testkit/redistest"
)

func TestMain(m *testing.M) {
	Quiet()
	flag.Parse()
	// Most tests wait most of the time. What was asked for on the command line stays.
	if f := flag.Lookup("test.parallel"); f != nil && f.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = f.Value.Set("6")
	}
	goleak.VerifyTestMain(m)
}

// patient is the longest any condition may take; a test that needs it fails.
const patient = 20 * time.Second

func needRedis(t *testing.T) {
	t.Helper()
	if err := redistest.Available(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

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

// at is the default table with this URL and a short io_timeout.
func at(url string) Config {
	c := Default()
	c.URL, c.IOTimeout = url, time.Second
	return c
}

func mustOpen(t *testing.T, cfg Config) *Target {
	t.Helper()
	target, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(target.Close)
	return target
}

// client is a client of a new target, closed with the test.
func client(t *testing.T, cfg Config, role Role) *redis.Client {
	t.Helper()
	return clientOf(t, mustOpen(t, cfg), role)
}

func clientOf(t *testing.T, target *Target, role Role) *redis.Client {
	t.Helper()
	c := target.Client(role)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// stock is a client as go-redis makes it, for showing what our options prevent.
func stock(t *testing.T, addr string, change func(*redis.Options)) *redis.Client {
	t.Helper()
	o := &redis.Options{Addr: addr}
	if change != nil {
		change(o)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// mustPing makes sure that a connection is up. The timeouts of some tests are so
// short that a busy machine needs more than one attempt.
func mustPing(t *testing.T, c *redis.Client) {
	t.Helper()
	eventually(t, "a PONG", func() bool { return c.Ping(context.Background()).Err() == nil })
}

// blackHole is an address whose kernel drops every SYN, because the queue of
// connections nobody accepts is full.
func blackHole(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(name.(*unix.SockaddrInet4).Port))
	for range 10 {
		c, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("the listener's queue never fills")
	return ""
}

// write puts text into a new file and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	path := t.TempDir() + "/file"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func contains(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("got %q, want it to contain %q", text, want)
		}
	}
}
