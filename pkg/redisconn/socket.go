package redisconn

import (
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// notSentLowat keeps what waits unsent in the kernel small, so that a finished
// Write means the network took the bytes and not just a 4 MB socket buffer.
const notSentLowat = 128 << 10

// tune sets what net.Dialer has no name for.
func tune(userTimeout time.Duration) func(network, address string, raw syscall.RawConn) error {
	return func(network, _ string, raw syscall.RawConn) error {
		if network == "unix" {
			return nil
		}
		var err error
		cerr := raw.Control(func(fd uintptr) {
			// Second line of defence behind the probe: the kernel ends a
			// connection whose bytes stay unacknowledged that long.
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
			if err == nil {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentLowat)
			}
		})
		if cerr != nil {
			return cerr
		}
		return err
	}
}

// ended reports whether the far side has ended the connection, or has said something
// that nobody asked for: of a TLS connection it is that it ends.
func ended(c net.Conn) (over bool) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		over = !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
	})
	return over
}

// queue is a TCP connection's sending side as the kernel sees it.
type queue struct {
	acked   uint64 // bytes acknowledged since the connection began
	unacked int    // bytes written and not yet acknowledged
}

// queueOf reads it; false where there is none (unix sockets, closed ones).
func queueOf(c net.Conn) (queue, bool) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return queue{}, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return queue{}, false
	}
	var q queue
	ok = false
	_ = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		unacked, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		if err != nil {
			return
		}
		q, ok = queue{acked: info.Bytes_acked, unacked: unacked}, true
	})
	return q, ok
}
