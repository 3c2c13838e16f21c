// Package testkit has what tests of several packages share: waiting for
// conditions, configurations of a link for tests, and a log to look into. Its
// subpackages run real servers and programs to hurt. Only tests import it.
package testkit

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/redisconn"
)

// Patience is the longest any condition may take; a test that needs it fails.
const Patience = 20 * time.Second

// Main runs a package's tests, six at a time unless the command line says
// otherwise, because most of them wait most of the time, and fails if one leaves
// a goroutine behind.
func Main(m *testing.M) {
	redisconn.Quiet()
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f != nil && f.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = f.Value.Set("6")
	}
	goleak.VerifyTestMain(m)
}

// Eventually waits until ok returns true, and fails after Patience.
func Eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", Patience, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Fast is a configuration that notices silence soon.
func Fast(url string) redisconn.Config {
	c := redisconn.Default()
	c.URL = url
	c.CheckInterval, c.CheckTimeout = 100*time.Millisecond, 400*time.Millisecond
	return c
}

// Unhurried is Fast with long timeouts: for tests in which no session may be lost
// but to what they do. A busy machine makes a probe late.
func Unhurried(url string) redisconn.Config {
	c := Fast(url)
	c.CheckTimeout, c.IOTimeout = Patience, Patience
	return c
}

// NeedRedis skips the test where no redis-server is installed; in CI it fails.
func NeedRedis(t *testing.T) {
	t.Helper()
	if err := redistest.Available(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// RedisURL is the address of a Redis on this machine.
func RedisURL(port int) string { return fmt.Sprintf("redis://127.0.0.1:%d/0", port) }

// SecretFile writes a file that holds a password, and returns its path.
func SecretFile(t *testing.T, secret string) string {
	t.Helper()
	path := t.TempDir() + "/password"
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Count is how often one stands in all.
func Count(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}
