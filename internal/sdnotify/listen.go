package sdnotify

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxMessage is what systemd takes at most.
const maxMessage = 4096

// Listener hears one child. Receive is for one goroutine.
type Listener struct {
	conn    *net.UnixConn
	address string
	buf     [maxMessage + 1]byte
	oob     []byte
}

// Listen opens a socket in the abstract namespace: it needs no directory that
// can be written, and leaves nothing behind.
func Listen() (*Listener, error) {
	address := fmt.Sprintf("@framekeeper/%d/%s", os.Getpid(), rand.Text())
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("listen for notifications: %w", err)
	}
	raw, err := conn.SyscallConn()
	if err == nil {
		var failed error
		err = errors.Join(raw.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
		}), failed)
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("ask for senders' credentials: %w", err)
	}
	// Room for the credentials and no more: a file descriptor that somebody
	// sends along finds none, and the kernel closes it.
	return &Listener{conn: conn, address: address, oob: make([]byte, unix.CmsgSpace(unix.SizeofUcred))}, nil
}

// Env is the environment of a child that is to be heard, made from ours; what
// our own manager put into it is not the child's. watchdog 0 is none.
func (l *Listener) Env(environ []string, watchdog time.Duration) []string {
	var env []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if name != EnvSocket && name != EnvWatchdog && name != EnvPID {
			env = append(env, entry)
		}
	}
	env = append(env, EnvSocket+"="+l.address)
	if watchdog > 0 {
		env = append(env, EnvWatchdog+"="+strconv.FormatInt(watchdog.Microseconds(), 10))
	}
	return env
}

// Receive waits for the next message of the process pid. It returns io.EOF when
// all that was sent before Finish has been read, and an error after Close.
func (l *Listener) Receive(pid int) (Message, error) {
	for {
		n, oobn, _, _, err := l.conn.ReadMsgUnix(l.buf[:], l.oob)
		if err != nil {
			return nil, fmt.Errorf("receive notification: %w", err)
		}
		switch sender(l.oob[:oobn]) {
		case os.Getpid():
			return nil, io.EOF
		case pid:
			if n <= maxMessage {
				return parse(l.buf[:n]), nil
			}
		}
	}
}

// sender is the process that sent a datagram, 0 if unknown.
func sender(oob []byte) int {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for i := range messages {
		if cred, err := unix.ParseUnixCredentials(&messages[i]); err == nil {
			return int(cred.Pid)
		}
	}
	return 0
}

// Finish is called when the child has ended: messages arrive in order, so that
// ours is behind all of its own.
func (l *Listener) Finish() {
	if err := send(l.address, "X_END=1"); err != nil {
		// The queue is full, and somebody else fills it: give up the rest.
		_ = l.conn.SetReadDeadline(time.Now())
	}
}

// Close ends a waiting Receive.
func (l *Listener) Close() error { return l.conn.Close() }

// Message is what one datagram said, by name.
type Message map[string]string

// parse reads lines of NAME=VALUE and leaves out all others.
func parse(b []byte) Message {
	m := Message{}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\n"), "="); ok && name != "" {
			m[name] = value
		}
	}
	return m
}
