package agentapi

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// Inherit is a Server on a listening unix socket that this process was started with;
// value is its descriptor. The socket may have a name that anybody on the machine can
// connect to: only the process's own user and root are served.
func Inherit(value string, log zerolog.Logger) (*Server, error) {
	fd, err := strconv.ParseUint(value, 10, 16)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("inherit a socket: %.20q: expected the number of a descriptor", value)
	}
	f := os.NewFile(uintptr(fd), "agent.sock")
	if f == nil {
		return nil, fmt.Errorf("inherit a socket: descriptor %d is not open", fd)
	}
	defer func() { _ = f.Close() }() // the listener has its own, which no child gets
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("inherit a socket: %w", err)
	}
	return newServer("", ownUser{l, os.Geteuid()}, log), nil
}

// ownUser is a listener that hangs up on other users.
type ownUser struct {
	net.Listener
	uid int
}

// Accept waits for the next connection of the user, or of root.
func (o ownUser) Accept() (net.Conn, error) {
	for {
		conn, err := o.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if uid, err := peer(conn); err == nil && (uid == 0 || uid == o.uid) {
			return conn, nil
		}
		_ = conn.Close()
	}
}

// peer is the user at the other end, as the kernel has it.
func peer(conn net.Conn) (uid int, err error) {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, errors.New("no unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err = errors.Join(err, failed); err != nil {
		return 0, err
	}
	return int(cred.Uid), nil
}
