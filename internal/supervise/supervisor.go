// Package supervise keeps one cam-agent process alive for every camera.
//
// It promises that each agent is started, started again when it ends (with a
// jittered, growing pause) or gives no more signs of life, and ended with
// everything it started itself when the supervisor ends; that there are never
// two of one camera; that no agent outlives a supervisor that was killed; and
// that every process is reaped. A camera that fails again and again gets the
// configured recovery command. It does not judge whether an agent that is alive
// is useful: that is the business of whoever reads the agent's status. The
// controller is its only caller.
//
// Why a child is started from a goroutine that stays locked to its thread: the
// kernel sends the death signal when the forking thread ends, not the process.
// Each heartbeat is proven by the kernel to be the child's own. A check that
// comes late by itself proves nothing: then it was the controller that stood
// still. An agent gets its configuration through a descriptor, because the file
// may be broken or not accepted yet.
package supervise

import (
	"context"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/status"
)

type (
	// State is how far an agent's process is.
	State = status.ProcessState
	// Status is an agent's process as others see it.
	Status = status.Process
)

// The states of an agent.
const (
	Starting  = status.ProcessStarting
	Running   = status.ProcessRunning
	Backoff   = status.ProcessBackoff
	CrashLoop = status.ProcessCrashLoop
	Hanging   = status.ProcessHanging
	Recovery  = status.ProcessRecovery
	Failed    = status.ProcessFailed
	Stopping  = status.ProcessStopping
	Stopped   = status.ProcessStopped
)

// Spec is one agent to keep alive.
type Spec struct {
	Name   string // the camera's
	Source string // as it may be shown; for recovery_command
	Path   string // the program
	Args   []string

	// Settings is everything the process reads at its start: a change needs a new
	// process.
	Settings any
	// Config is what the process finds behind ConfigVariable, so that it reads
	// what the controller has accepted and not what the file holds by then. Nil:
	// nothing.
	Config []byte
}

// needsRestart reports whether a process of s has to make way for one of next.
func (s *Spec) needsRestart(next *Spec) bool {
	return s.Path != next.Path || !slices.Equal(s.Args, next.Args) || !reflect.DeepEqual(s.Settings, next.Settings)
}

// Options of a Supervisor. Zero durations and functions take their defaults.
type Options struct {
	Agents []Spec
	Output io.Writer // gets the agents' own output, line by line, unchanged; whoever holds it up holds up agents
	Log    zerolog.Logger

	Settings // RestartBackoffMax 0: 30 s; WatchdogTimeout 0: no watchdog

	BackoffMin      time.Duration // 200 ms
	HealthyAfter    time.Duration // 30 s: a life this long forgives all quick ends before it
	StopTimeout     time.Duration // 5 s between SIGTERM and SIGKILL
	SettleTime      time.Duration // 3 s: a process that has not reported that it is ready counts as running after that
	DumpTimeout     time.Duration // 2 s from SIGQUIT, for the goroutines' stacks, to SIGKILL
	RecoveryTimeout time.Duration // 60 s

	Now    func() time.Time
	After  func(time.Duration) <-chan time.Time
	Random func() float64 // in [0, 1), for the jitter
}

func (o *Options) fillDefaults() {
	for _, d := range []struct {
		value *time.Duration
		other time.Duration
	}{
		{&o.BackoffMin, 200 * time.Millisecond},
		{&o.RestartBackoffMax, 30 * time.Second},
		{&o.HealthyAfter, 30 * time.Second},
		{&o.StopTimeout, 5 * time.Second},
		{&o.SettleTime, 3 * time.Second},
		{&o.DumpTimeout, 2 * time.Second},
		{&o.RecoveryTimeout, time.Minute},
	} {
		if *d.value <= 0 {
			*d.value = d.other
		}
	}
	if o.Output == nil {
		o.Output = io.Discard
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.After == nil {
		o.After = time.After
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
}

// Supervisor runs the agents. Run may be called once; everything else at any
// time from any goroutine.
type Supervisor struct {
	out *sink
	one chan struct{} // for recovery commands; capacity 1
	wg  sync.WaitGroup

	begun chan struct{} // closed when Run has

	mu      sync.Mutex      // guards all below
	ctx     context.Context //nolint:containedctx // of Run; nil before
	opt     Options
	agents  []*agent
	leaving map[string]chan struct{} // closed when the agent that was taken out is gone
}

// New prepares a supervisor; nothing runs before Run.
func New(o Options) *Supervisor {
	o.fillDefaults()
	s := &Supervisor{out: &sink{w: o.Output}, one: make(chan struct{}, 1), opt: o, leaving: map[string]chan struct{}{}, begun: make(chan struct{})}
	for _, spec := range o.Agents {
		s.add(spec)
	}
	return s
}

func (s *Supervisor) add(spec Spec) *agent {
	o := s.opt // a copy: the agent's own until it is given another
	a := newAgent(spec, &o, s.out, s.one)
	s.agents = append(s.agents, a)
	return a
}

// start begins an agent's loop. The caller holds mu and has looked at ctx.
func (s *Supervisor) start(a *agent) {
	ctx, cancel := context.WithCancel(s.ctx)
	a.cancel = cancel
	earlier := s.leaving[a.name]
	delete(s.leaving, a.name)
	s.wg.Go(func() {
		defer cancel()
		if earlier != nil { // there are never two of one camera
			<-earlier
		}
		a.run(ctx)
	})
}

// Run keeps the agents alive until ctx ends, then stops them, and returns when
// every process is gone and every goroutine has ended.
func (s *Supervisor) Run(ctx context.Context) error {
	s.mu.Lock()
	s.ctx = ctx
	for _, a := range s.agents {
		s.start(a)
	}
	s.mu.Unlock()
	close(s.begun)
	<-ctx.Done()
	s.mu.Lock()   // whoever starts one more has done so, or sees that ctx has ended
	s.mu.Unlock() //nolint:staticcheck // nothing to do but that
	s.wg.Wait()
	return nil
}

// Begun is closed when Run has begun, and commands can be given.
func (s *Supervisor) Begun() <-chan struct{} { return s.begun }

// Agents is what every agent is doing now, in the order of Options.Agents.
func (s *Supervisor) Agents() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Status, 0, len(s.agents))
	for _, a := range s.agents {
		all = append(all, a.snapshot())
	}
	return all
}
