// Package redisserver runs a redis-server of the box's own, at the address that
// the [redis] table names.
//
// It promises that the server is started again when it ends, and killed and
// started again when it does not answer; that its memory is bounded and it
// evicts nothing; that it listens where its URL says and nowhere else; that no
// password is in its arguments, environment or files; and that it ends with the
// program, however that ends. It keeps nothing on disk: what it forgets, the
// agents add again. The controller is its only caller.
//
// Why it differs from an agent's supervision: the kernel kills the server at
// once with the controller, for it has nothing to save; it is asked (PING)
// instead of listened to; and it outlives the supervisor, so that agents which
// are being stopped still hand over what they hold. Its configuration comes on
// standard input, with passwords as hashes. Before each start the address is
// tried, because redis-server's own complaint names no cause, and it would
// remove whatever has the name of its socket.
package redisserver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/status"
	"framekeeper/internal/supervise"
	"framekeeper/pkg/redisconn"
)

// State and Status are the schema's.
type (
	State  = status.ProcessState
	Status = status.RedisServer
)

// The states of the server.
const (
	Starting = status.ProcessStarting
	Running  = status.ProcessRunning
	Hanging  = status.ProcessHanging
	Waiting  = status.ProcessWaiting
	Stopped  = status.ProcessStopped
)

// Options of a Server. Zero durations take their defaults.
type Options struct {
	Redis       redisconn.Config
	Dir         string // its working directory; made when needed. It writes nothing there
	Cameras     int
	StreamBytes int64                  // of each camera's stream
	Log         func() *zerolog.Logger // as it is configured now

	HangTimeout  time.Duration // 10 s without an answer
	BackoffMin   time.Duration // 50 ms
	BackoffMax   time.Duration // 5 s
	HealthyAfter time.Duration // 30 s: a life this long forgives all ends before it
	StopTimeout  time.Duration // 2 s between SIGTERM and SIGKILL
}

func (o *Options) fillDefaults() {
	for _, d := range []struct {
		value *time.Duration
		other time.Duration
	}{
		{&o.HangTimeout, 10 * time.Second},
		{&o.BackoffMin, 50 * time.Millisecond},
		{&o.BackoffMax, 5 * time.Second},
		{&o.HealthyAfter, 30 * time.Second},
		{&o.StopTimeout, 2 * time.Second},
	} {
		if *d.value <= 0 {
			*d.value = d.other
		}
	}
}

// program is looked for in PATH.
const program = "redis-server"

// Server keeps one redis-server running. Run may be called once; Status at any
// time from any goroutine. Only Run's goroutine changes what mu does not guard.
type Server struct {
	opt   Options
	place place
	path  string // the program

	restarts supervise.Restarts

	once  sync.Once
	begun chan struct{} // closed by once

	mu     sync.Mutex // guards status
	status Status
}

// New prepares a server; nothing runs before Run. The error is one that only
// somebody's hand can change: no redis-server, or a url of another machine.
func New(ctx context.Context, o Options) (*Server, error) {
	o.fillDefaults()
	p, err := placeOf(&o.Redis)
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(p.user, " \t\r\n\"'\\") || p.user == adminUser {
		return nil, fmt.Errorf("redis.username %q cannot be made a user of an embedded server", p.user)
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, errors.New("redis.embedded = true needs redis-server, which is not installed: sudo apt-get install redis-server, " +
			"and, because Debian starts one of its own, sudo systemctl disable --now redis-server")
	}
	if err := p.check(ctx); err != nil {
		return nil, err
	}
	memory := MemoryFor(o.Cameras, o.StreamBytes)
	restarts := supervise.Restarts{
		Name: "Embedded Redis", BackoffMin: o.BackoffMin, BackoffMax: o.BackoffMax, HealthyAfter: o.HealthyAfter, Random: rand.Float64,
	}
	return &Server{opt: o, restarts: restarts, place: p, path: path, begun: make(chan struct{}), status: Status{State: Starting, Since: time.Now(), Memory: memory}}, nil
}

// check refuses a url that means another machine. A box whose network is not up
// yet may still get the address.
func (p *place) check(ctx context.Context) error {
	_, err := p.addresses(ctx)
	if !errors.Is(err, errNotOurs) {
		return nil // a name that cannot be found now is tried again
	}
	own, lerr := ownAddresses()
	if lerr != nil || !hasNetwork(own) {
		return nil
	}
	return fmt.Errorf("redis.embedded = true runs the server on this box, but redis.url says %s, and %w: "+
		"set embedded = false to use the server there, or give an address of this box", p, err)
}

// Run keeps the server running until ctx ends, then stops it, and returns when
// its process is gone.
func (s *Server) Run(ctx context.Context) error {
	for first := true; ctx.Err() == nil; first = false {
		life, err := s.live(ctx, first)
		if ctx.Err() != nil {
			break
		}
		_, wait := s.restarts.Ended(s.opt.Log(), err.Error(), life, false)
		s.mu.Lock()
		s.status.LastExit = err.Error()
		s.mu.Unlock()
		s.set(status.ProcessWaiting, 0)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	s.set(Stopped, 0)
	return nil
}

// Begun is closed once the first process answers, or will not.
func (s *Server) Begun() <-chan struct{} { return s.begun }

func (s *Server) set(state State, pid int) {
	if state != Starting {
		defer s.once.Do(func() { close(s.begun) })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.State != state {
		s.status.Since = time.Now()
	}
	s.status.State, s.status.PID = state, pid
	if state != Running {
		s.status.Used = 0
	}
}

// Resize bounds the running server's memory anew, for so many cameras.
func (s *Server) Resize(cameras int, streamBytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Memory = MemoryFor(cameras, streamBytes)
}

// Status is what the server is doing now.
func (s *Server) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}
