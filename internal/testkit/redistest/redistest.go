// Package redistest runs a real redis-server and hurts it: it kills, freezes,
// restarts and reconfigures the server, and breaks the wire to it with a TCP
// proxy or a network namespace.
//
// It promises that every server, proxy and namespace it made is gone when the
// test ends, however the test ends: a process that dies with SIGKILL takes its
// servers with it, and a namespace it left behind is removed by the next run.
// It refuses to fake anything: there is no in-memory Redis here.
//
// Tests of every package and the programs under test/ may call it; the product
// must not. It works on Linux only. One goroutine at a time may hurt a Server,
// a SentinelSet or a NetHost; reading from them (Addr, Log, AcceptedAt…) and
// every method of Proxy are safe from any goroutine.
package redistest

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"
)

// TB is what redistest needs of a test. *testing.T and *testing.B satisfy it; a
// program may bring its own, whose Fatalf must not return (panic or
// runtime.Goexit) and which must run its Cleanup functions last in, first out.
// A TB that also has Failed() bool gets the server's log when it failed.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
	Cleanup(func())
	TempDir() string
	Name() string
}

const serverProgram = "redis-server"

// Available says whether a redis-server can be run here, and if not, what to do.
func Available() error {
	if _, err := exec.LookPath(serverProgram); err != nil {
		return errors.New("redis-server is not installed; run: sudo apt-get install -y redis-server")
	}
	return nil
}

// failed reports whether the test has failed so far, when that is known.
func failed(tb TB) bool {
	f, ok := tb.(interface{ Failed() bool })
	return ok && f.Failed()
}

// closeNow closes a socket for good. A process that is being forked elsewhere in
// this program holds a copy of it until it executes, and a copy keeps a port
// taken and a connection open; the lock waits for such forks to be over.
func closeNow(c io.Closer) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	_ = c.Close() // closing twice is fine, and there is nothing to flush
}

// pollEvery is how often a condition outside this process is looked at.
const pollEvery = 2 * time.Millisecond

// await looks at cond until it holds or limit has passed. The error is cond's
// last one, which says what was still missing.
func await(limit time.Duration, cond func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := cond()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("wait %s: %w", limit, err)
		}
		time.Sleep(pollEvery)
	}
}
