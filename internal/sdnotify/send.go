// Package sdnotify speaks systemd's notification protocol (sd_notify), both
// sides of it: a Sender reports the state of this process to whoever started it, a
// Listener receives those of one child. A Sender never waits: a manager that does
// not read costs a message, not the time of the one who sends. A Listener
// believes only the process it was configured for, by the credentials the kernel
// attaches. cam-agent and controller send, internal/supervise listens.
package sdnotify

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The variables of the protocol.
const (
	EnvSocket   = "NOTIFY_SOCKET"
	EnvWatchdog = "WATCHDOG_USEC"
	EnvPID      = "WATCHDOG_PID"

	// EnvKey is ours, not systemd's: what each message to a Listener begins with.
	EnvKey = "NOTIFY_KEY"
)

// keyLine is the line in front of a message to a Listener.
func keyLine(key string) string { return EnvKey + "=" + key + "\n" }

// Messages every manager understands.
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
	Watchdog = "WATCHDOG=1"
)

// Status is the message that describes the state to people.
func Status(text string) string { return "STATUS=" + strings.ReplaceAll(text, "\n", " ") }

// Sender sends to the manager that started this process. A nil Sender has no
// manager and sends nothing. It is safe for any goroutine.
type Sender struct {
	address  string
	prefix   string // keyLine, or "" for systemd
	watchdog time.Duration
}

// FromEnv is the Sender the variables describe, nil if none do.
func FromEnv(getenv func(string) string) *Sender {
	address := getenv(EnvSocket)
	if address == "" || address[0] != '/' && address[0] != '@' {
		return nil
	}
	s := &Sender{address: address}
	if key := getenv(EnvKey); key != "" {
		s.prefix = keyLine(key)
	}
	if pid := getenv(EnvPID); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return s // the watchdog is meant for another process
	}
	if us, err := strconv.ParseInt(getenv(EnvWatchdog), 10, 64); err == nil && us > 0 && us < int64(24*time.Hour/time.Microsecond) {
		s.watchdog = time.Duration(us) * time.Microsecond
	}
	return s
}

// Take is FromEnv of this process, once: the variables are gone afterwards. They are
// meant for this process, and one that it starts could report in its name.
func Take() (*Sender, error) {
	s := FromEnv(os.Getenv)
	var errs []error
	for _, name := range []string{EnvSocket, EnvKey, EnvWatchdog, EnvPID} {
		errs = append(errs, os.Unsetenv(name))
	}
	return s, errors.Join(errs...)
}

// Watchdog is within what time the manager wants a Watchdog message; 0: it
// wants none.
func (s *Sender) Watchdog() time.Duration {
	if s == nil {
		return 0
	}
	return s.watchdog
}

// Send sends the messages in one datagram.
func (s *Sender) Send(messages ...string) error {
	if s == nil {
		return nil
	}
	return send(s.address, s.prefix+strings.Join(messages, "\n"))
}

func send(address, text string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open notification socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	for {
		err = unix.Sendto(fd, []byte(text), unix.MSG_NOSIGNAL, &unix.SockaddrUnix{Name: address})
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("notify %s: %w", address, err)
	}
	return nil
}
