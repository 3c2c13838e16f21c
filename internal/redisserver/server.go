// Package redisserver runs a redis-server of the box's own, at the address that
// the [redis] table names.
//
// It promises that the server is started again when it ends, when it does not
// answer (then it is killed first) and when its password has changed; that its
// memory is bounded and it evicts nothing; that it listens where its URL says and
// nowhere else; that no password is in its arguments, environment or files; and
// that it ends with the program, however that ends. It stores nothing on disk:
// the agents add again what it held. The controller is its only caller.
//
// Why it differs from an agent's supervision: the kernel kills the server at
// once with the controller, for it has nothing to save; it is asked (INFO)
// instead of listened to; and it outlives the supervisor, so that agents which
// are being stopped still hand over what they hold. Its configuration comes on
// standard input, with passwords as hashes. Before each start the address is
// tried, because redis-server's own complaint names no cause, and it would
// remove whatever has the name of its socket.
package redisserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/async"
	"framekeeper/internal/status"
	"framekeeper/internal/supervise"
	"framekeeper/pkg/redisconn"
)

// Options of a Server. Zero durations take their defaults.
type Options struct {
	Redis  redisconn.Config
	Dir    string                 // its working directory; made when needed. It writes nothing there
	Memory int64                  // its bound, see MemoryFor
	Frame  int64                  // the largest frame: two can wait for a subscriber
	Log    func() *zerolog.Logger // as it is configured now

	HangTimeout time.Duration // 10 s without an answer
	BackoffMin  time.Duration // 50 ms
	BackoffMax  time.Duration // 5 s
}

const (
	healthyAfter = 30 * time.Second // a life this long forgives all ends before it
	stopTimeout  = 2 * time.Second  // between SIGTERM and SIGKILL
	program      = "redis-server"   // it is looked for in PATH
)

// Server runs one redis-server after another. Run may be called once; Status at
// any time from any goroutine. Only Run's goroutine uses what mu does not guard.
type Server struct {
	opt      Options
	endpoint endpoint
	path     string // the program

	restarts supervise.Restarts

	once  sync.Once
	begun chan struct{} // closed by once

	mu     sync.Mutex // guards status
	status status.RedisServer
}

// New prepares a server; nothing runs before Run. The error is one that only
// somebody's hand can change: no redis-server, or a url of another machine.
func New(ctx context.Context, o Options) (*Server, error) {
	o.HangTimeout = cmp.Or(o.HangTimeout, 10*time.Second)
	e, err := endpointOf(&o.Redis)
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(e.user, " \t\r\n\"'\\") {
		return nil, fmt.Errorf("redis.username %q cannot be made a user of an embedded server", e.user)
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, errors.New("redis.embedded = true needs redis-server, which is not installed: sudo apt-get install redis-server, " +
			"and, because Debian starts one of its own, sudo systemctl disable --now redis-server")
	}
	if err := e.check(ctx); err != nil {
		return nil, err
	}
	restarts := supervise.Restarts{
		Name: "Embedded Redis", BackoffMin: cmp.Or(o.BackoffMin, 50*time.Millisecond), BackoffMax: cmp.Or(o.BackoffMax, 5*time.Second),
		HealthyAfter: healthyAfter, Random: rand.Float64,
	}
	return &Server{
		opt: o, restarts: restarts, endpoint: e, path: path, begun: make(chan struct{}),
		status: status.RedisServer{State: status.ProcessStarting, Since: time.Now(), Memory: o.Memory},
	}, nil
}

// check refuses a url that means another machine. A box whose network is not up
// yet may still get the address.
func (e *endpoint) check(ctx context.Context) error {
	_, err := e.addresses(ctx)
	if !errors.Is(err, errNotOurs) {
		return nil // a name that cannot be found now is tried again
	}
	own, lerr := ownAddresses()
	if lerr != nil || !hasNetwork(own) {
		return nil
	}
	return fmt.Errorf("redis.embedded = true runs the server on this box, but redis.url says %s, and %w: "+
		"set embedded = false to use the server there, or give an address of this box", e, err)
}

// Run runs the server until ctx ends, then stops it, and returns when its process
// is gone.
func (s *Server) Run(ctx context.Context) error {
	for first := true; ctx.Err() == nil; first = false {
		life, err := s.runProcess(ctx, first)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, errChanged):
			s.restarts.Reset()
		default:
			_, wait := s.restarts.Ended(s.opt.Log(), err.Error(), life, false)
			s.set(status.ProcessWaiting, 0, func(st *status.RedisServer) { st.LastExit = err.Error() })
			async.Pause(ctx, wait)
		}
	}
	s.set(status.ProcessStopped, 0, nil)
	return nil
}

// Begun is closed once the first process answers, or will not.
func (s *Server) Begun() <-chan struct{} { return s.begun }

// set changes the state, and with change (nil: nothing) the rest of the status.
func (s *Server) set(state status.ProcessState, pid int, change func(*status.RedisServer)) {
	if state != status.ProcessStarting {
		defer s.once.Do(func() { close(s.begun) })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.State != state {
		s.status.Since = time.Now()
	}
	s.status.State, s.status.PID = state, pid
	if state != status.ProcessRunning {
		s.status.Used = 0
	}
	if change != nil {
		change(&s.status)
	}
}

// Status is what the server is doing now.
func (s *Server) Status() status.RedisServer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}
