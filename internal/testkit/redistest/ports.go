package redistest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken from below Linux's ephemeral range (32768 and up). Above it,
// a client that keeps dialling a dead server can be given the server's own port
// as its source port, connect to itself, and keep the server from returning.
const (
	lowestPort  = 20000
	highestPort = 31999
)

// reservation keeps a number from being chosen by any process that uses this
// package, for as long as the owner wants and at the latest until it dies.
type reservation struct{ lock *net.UnixListener }

// release gives the number back.
func (r *reservation) release() {
	if r != nil {
		closeNow(r.lock)
	}
}

// reserve claims a number of a kind. The claim is an abstract unix socket: the
// kernel lets only one process have it, and frees it even after a SIGKILL.
func reserve(kind string, n int) (*reservation, error) {
	name := fmt.Sprintf("@redistest-%s-%d", kind, n)
	lock, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("reserve %s %d: %w", kind, n, err)
	}
	return &reservation{lock: lock}, nil
}

// reservePort finds a port on host that nobody listens on and that no other
// user of this package will choose, also while its server is down.
func reservePort(host string) (int, *reservation, error) {
	for range 500 {
		port := lowestPort + rand.IntN(highestPort-lowestPort+1)
		r, err := reserve("port", port)
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			r.release()
			continue
		}
		closeNow(l)
		return port, r, nil
	}
	return 0, nil, errors.New("find a free port: 500 tries were all taken")
}

// FreePort returns a loopback port that stays reserved until the test ends, for
// a server that is to be started later with WithPort.
func FreePort(tb TB) int {
	tb.Helper()
	port, r, err := reservePort("127.0.0.1")
	if err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	tb.Cleanup(r.release)
	return port
}

// FreeAddr is a FreePort with its host: for a server that is to be started later
// or never, and for anything else a test must know the address of beforehand.
func FreeAddr(tb TB) string {
	tb.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(FreePort(tb)))
}
