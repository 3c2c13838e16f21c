package supervise

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/async"
)

// agent is the loop around one camera's processes. Only run's goroutine
// touches it; others read it through snapshot, and request changes of the desired state.
type agent struct {
	name   string
	settle time.Duration
	out    *sink
	wake   async.Wake         // the desired state has changed
	gone   chan struct{}      // closed when run has returned
	cancel context.CancelFunc // ends run; set before it begins
	latest Spec               // the last one ordered; guarded by the Supervisor's mu

	spec     Spec
	opt      *Options
	log      zerolog.Logger
	recovery recovery

	restarts Restarts
	failures int // of the camera in a row, without a new frame

	mu      sync.Mutex // guards all below
	status  Status
	desired desired
	changed chan struct{} // closed and replaced at each change of them
}

func newAgent(spec Spec, o *Options, out *sink, one chan struct{}) *agent {
	a := &agent{
		name: spec.Name, settle: o.SettleTime, out: out, wake: async.NewWake(), gone: make(chan struct{}),
		latest: spec, spec: spec, recovery: recovery{one: one},
		status: Status{Name: spec.Name, State: Starting, Since: o.Now()}, changed: make(chan struct{}),
	}
	a.use(o)
	return a
}

// use makes these the options.
func (a *agent) use(o *Options) {
	a.opt, a.log = o, o.Log.With().Str("camera", a.name).Logger()
	a.recovery.opt, a.recovery.log = a.opt, a.log
	r := &a.restarts
	r.Name, r.BackoffMin, r.BackoffMax, r.HealthyAfter, r.Random = "Agent", o.BackoffMin, o.RestartBackoffMax, o.HealthyAfter, o.Random
}

// run is the life of the agent: one process after another until ctx ends, and
// none while it is to be stopped.
func (a *agent) run(ctx context.Context) {
	defer close(a.gone)
	for first := true; a.mayStart(ctx); first = false {
		e, life := a.live(ctx, first)
		if ctx.Err() != nil {
			break
		}
		if a.interrupted() {
			a.forgive()
			continue
		}
		wait := a.judge(e, life)
		a.recover(ctx, e)
		a.rest(ctx, wait)
	}
	a.set(Stopped, 0)
}

// live runs one process to its end and says how and after how long it ended.
func (a *agent) live(ctx context.Context, first bool) (ending, time.Duration) {
	a.begin()
	began := a.opt.Now()
	p, pulse, err := a.start()
	if err != nil {
		return ending{startErr: err}, 0
	}
	a.mu.Lock()
	if !first {
		a.status.Restarts++
	}
	a.desired.phase = runs
	a.mu.Unlock()
	a.set(Running, p.pid)
	a.log.WithLevel(a.restarts.Level()).Int("pid", p.pid).Msg("Agent started")

	silent := a.follow(ctx, p, pulse)
	pulse.finish()
	e := p.end
	e.silent = silent
	e.frames, e.says = pulse.state()
	return e, a.opt.Now().Sub(began)
}

// judge draws the consequences of an end: state, log, and how long to wait
// before the next start.
func (a *agent) judge(e ending, life time.Duration) time.Duration {
	v := e.verdict(a.spec.Path)
	switch {
	case e.frames > 0:
		a.failures = 0
	case v.camera:
		a.failures++
	}
	state, wait := a.restarts.Ended(&a.log, v.reason, life, v.needsHand)
	a.mu.Lock()
	if e.startErr == nil {
		a.status.Ends++
	}
	a.status.LastExit, a.status.Says, a.status.Failures = v.reason, "", a.failures
	a.status.Ready, a.desired.phase = false, over
	a.mu.Unlock()
	a.set(state, 0)
	return wait
}

func (a *agent) set(s State, pid int) {
	a.update(func(status *Status) {
		if status.State != s {
			status.Since = a.opt.Now()
		}
		status.State, status.PID, status.Silent = s, pid, time.Time{}
		status.Ready = status.Ready && s == Running
	})
}

func (a *agent) snapshot() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status
}
