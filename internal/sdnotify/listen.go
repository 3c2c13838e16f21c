package sdnotify

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxMessage is what systemd takes at most.
const maxMessage = 4096

// Listener hears one child. Receive is for one goroutine.
type Listener struct {
	conn    *net.UnixConn
	address string
	key     string
	buf     [maxMessage + 1]byte
	oob     []byte
}

// Listen opens a socket in the abstract namespace: it needs no directory that
// can be written, and leaves nothing behind. Whoever is on the machine sees its
// name and may send to it, so the kernel lets in only who has the key too: a
// flood would fill the queue, and the child's signs of life would find no room.
func Listen() (*Listener, error) {
	l := &Listener{address: fmt.Sprintf("@framekeeper/%d/%s", os.Getpid(), rand.Text()), key: rand.Text()}
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error { // before it has its name
		var failed error
		err := raw.Control(func(fd uintptr) { failed = l.guard(int(fd)) }) //nolint:gosec // a descriptor is a small number
		return errors.Join(err, failed)
	}}
	conn, err := lc.ListenPacket(context.Background(), "unixgram", l.address)
	if err != nil {
		return nil, fmt.Errorf("listen for notifications: %w", err)
	}
	l.conn = conn.(*net.UnixConn)
	// Room for the credentials and no more: a file descriptor that somebody
	// sends along finds none, and the kernel closes it.
	l.oob = make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	return l, nil
}

// guard has the kernel attach senders' credentials, and drop what does not begin
// with the key.
func (l *Listener) guard(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return fmt.Errorf("ask for senders' credentials: %w", err)
	}
	filter := keyFilter(keyLine(l.key))
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]} //nolint:gosec // a few dozen
	// A kernel without filters (some that are only emulated) costs the protection
	// from a flood, not that from forgery: no reason to run no agent.
	_ = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program)
	return nil
}

// keyFilter is a program for the kernel that takes a datagram whole if it begins
// with the text, and else nothing of it.
func keyFilter(text string) []unix.SockFilter {
	var program []unix.SockFilter
	for i := range len(text) {
		program = append(program,
			unix.SockFilter{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: uint32(i)}, //nolint:gosec // a few dozen
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(text[i]), Jt: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K},
		)
	}
	return append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: math.MaxUint32})
}

// Env is the environment of a child that is to be heard, made from ours; what
// our own manager put into it is not the child's. watchdog 0 is none.
func (l *Listener) Env(environ []string, watchdog time.Duration) []string {
	var env []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if name != EnvSocket && name != EnvKey && name != EnvWatchdog && name != EnvPID {
			env = append(env, entry)
		}
	}
	env = append(env, EnvSocket+"="+l.address, EnvKey+"="+l.key)
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
				return parse(l.buf[min(n, len(keyLine(l.key))):n]), nil
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
	if err := send(l.address, keyLine(l.key)+"X_END=1"); err != nil {
		// The queue is full, for the child or its own children fill it: give up the rest.
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
