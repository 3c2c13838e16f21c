package redistest

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// startLimit is how long a server may take to come up on a busy machine.
	startLimit = 20 * time.Second
	// bindTries is how often Start chooses another port when the one it chose
	// was taken, by a program that knows nothing of reservations, before the
	// server could bind it.
	bindTries = 10
	// logTail is how much of the log a failed test prints.
	logTail = 8 << 10
)

// Server is one redis-server: its files, its port and its current process.
type Server struct {
	tb            TB
	set           settings
	port          int
	files         files
	certs         *TLSFiles
	adminPassword string
	boot          atomic.Pointer[Boot] // the current process; nil before the first
}

// Start runs a redis-server and returns when it answers PING. Without options
// it listens on a free loopback port, saves nothing and asks for no password.
func Start(tb TB, opts ...Option) *Server {
	tb.Helper()
	set := settings{bind: "127.0.0.1"}
	for _, opt := range opts {
		opt(&set)
	}
	s, err := start(tb, set)
	if err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	return s
}

func start(tb TB, set settings) (*Server, error) {
	if err := Available(); err != nil {
		return nil, err
	}
	f, err := newFiles(tb)
	if err != nil {
		return nil, err
	}
	s := &Server{tb: tb, set: set, files: f, adminPassword: newSecret()}
	if set.tls != tlsOff {
		if s.certs, err = newTLSFiles(f.dir, s.host()); err != nil {
			return nil, err
		}
	}
	if err := writeUsers(f, set, s.adminPassword); err != nil {
		return nil, err
	}
	tb.Cleanup(s.cleanup)
	for try := 1; ; try++ {
		err := s.tryStart()
		if err == nil {
			return s, nil
		}
		if set.port != 0 || try == bindTries || !strings.Contains(s.Log(), "Address already in use") {
			return nil, err
		}
	}
}

// tryStart starts the server on the wished port or a free one.
func (s *Server) tryStart() error {
	s.port = s.set.port
	if s.port == 0 && !s.set.unixSocket {
		port, r, err := reservePort(s.set.reserveHost())
		if err != nil {
			return err
		}
		s.port = port
		s.tb.Cleanup(r.release) // kept while the server is down, so that it can come back
	}
	if err := writeConf(s.files, s.set, s.port, s.certs); err != nil {
		return err
	}
	if err := s.launch(); err != nil {
		return err
	}
	return s.reach("start", s.Boot().Ready)
}

// reserveHost is where a port must be free. A namespace of its own has all
// ports free; loopback stands in for it.
func (s settings) reserveHost() string {
	if s.host != nil {
		return "127.0.0.1"
	}
	return s.bind
}

// launch starts a process; the one before must have ended.
func (s *Server) launch() error {
	if b := s.boot.Load(); b != nil {
		b.end()
	}
	b, err := newBoot(s)
	if err != nil {
		return err
	}
	s.boot.Store(b)
	return nil
}

// reach waits until the current process has got as far as the channel says.
func (s *Server) reach(verb string, reached <-chan struct{}) error {
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	b := s.Boot()
	select {
	case <-reached:
		return nil
	case <-b.Exited:
		return fmt.Errorf("%s redis-server on %s: it ended with %q; its log:\n%s",
			verb, s.Addr(), b.child.end, s.Log())
	case <-limit.C:
		return fmt.Errorf("%s redis-server on %s: no answer for %s; its log:\n%s",
			verb, s.Addr(), startLimit, s.Log())
	}
}

func (s *Server) cleanup() {
	if b := s.boot.Load(); b != nil {
		b.end()
	}
	if failed(s.tb) {
		s.tb.Logf("redis-server %s, end of its log:\n%s", s.Addr(), s.Log())
	}
}

// Log is the end of what the server has written so far, over all its lives.
func (s *Server) Log() string {
	raw, err := os.ReadFile(s.files.log)
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	return string(raw[max(0, len(raw)-logTail):])
}
