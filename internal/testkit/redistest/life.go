package redistest

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// stopLimit is how long a server may take to obey a signal.
const stopLimit = 10 * time.Second

// Kill ends the server with SIGKILL, frozen or not, and returns when its
// sockets are closed.
func (s *Server) Kill() { s.Boot().end() }

// Stop ends the server in order (SIGTERM), saving what its options say.
func (s *Server) Stop() {
	s.tb.Helper()
	s.mustSignal("stop", syscall.SIGTERM)
	s.mustSignal("stop", syscall.SIGCONT) // a frozen server has to wake up to obey
	select {
	case <-s.Boot().Exited:
		s.Boot().end()
	case <-time.After(stopLimit):
		s.tb.Fatalf("redistest: stop redis-server on %s: still there after %s", s.Addr(), stopLimit)
	}
}

// Freeze stops the server's process with SIGSTOP: its kernel still accepts
// connections and bytes, nobody answers. It returns when the process stands.
func (s *Server) Freeze() {
	s.tb.Helper()
	s.mustSignal("freeze", syscall.SIGSTOP)
	s.mustBecome("freeze", true)
}

// Thaw lets a frozen server go on.
func (s *Server) Thaw() {
	s.tb.Helper()
	s.mustSignal("thaw", syscall.SIGCONT)
	s.mustBecome("thaw", false)
}

func (s *Server) mustSignal(verb string, sig syscall.Signal) {
	s.tb.Helper()
	if err := s.Boot().child.signal(sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		s.tb.Fatalf("redistest: %s redis-server on %s: %v", verb, s.Addr(), err)
	}
}

// mustBecome waits until the kernel shows the process as stopped or not.
func (s *Server) mustBecome(verb string, stopped bool) {
	s.tb.Helper()
	err := await(stopLimit, func() error {
		if state := procState(s.Pid()); (state == 'T') != stopped {
			return fmt.Errorf("%s redis-server on %s: process state is %q", verb, s.Addr(), state)
		}
		return nil
	})
	if err != nil {
		s.tb.Fatalf("redistest: %v", err)
	}
}

// Restart starts the server again on the same port with the same files, after
// killing it if it still runs, and returns when it answers commands, if only to
// say that it is loading its data. What was set at run time is as Redis kept it.
func (s *Server) Restart() {
	s.tb.Helper()
	if err := s.reach("restart", s.RestartAsync().Answered); err != nil {
		s.tb.Fatalf("redistest: %v", err)
	}
}

// RestartAsync is Restart without the waiting.
func (s *Server) RestartAsync() *Boot {
	s.tb.Helper()
	if err := s.launch(); err != nil {
		s.tb.Fatalf("redistest: restart redis-server on %s: %v", s.Addr(), err)
	}
	return s.Boot()
}

// AwaitReady returns when the server answers PONG: its data is loaded.
func (s *Server) AwaitReady() {
	s.tb.Helper()
	if err := s.reach("await", s.Boot().Ready); err != nil {
		s.tb.Fatalf("redistest: %v", err)
	}
}

// Boot is the current life of the server's process.
func (s *Server) Boot() *Boot { return s.boot.Load() }

// AcceptedAt is when the current process first accepted a connection; zero if
// it has not yet.
func (s *Server) AcceptedAt() time.Time { return s.Boot().AcceptedAt() }

// Pid is the current process's ID.
func (s *Server) Pid() int { return s.Boot().child.pid }

// Running reports whether the current process has not ended.
func (s *Server) Running() bool { return s.Boot().child.running() }
