//go:build !linux

package redisconn

import (
	"net"
	"syscall"
	"time"
)

// Elsewhere than on Linux the probe alone watches the connection.
func tune(time.Duration) func(network, address string, raw syscall.RawConn) error { return nil }

type queue struct {
	acked   uint64
	unacked int
}

func queueOf(net.Conn) (queue, bool) { return queue{}, false }
