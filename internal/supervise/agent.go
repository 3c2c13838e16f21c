package supervise

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// agent is the loop around one camera's processes. Only run's goroutine
// touches it; others read it through snapshot, and give orders.
type agent struct {
	name   string
	settle time.Duration
	out    *sink
	kick   chan struct{}      // capacity 1: there is an order to look at
	gone   chan struct{}      // closed when run has returned
	cancel context.CancelFunc // ends run; set before it begins
	latest Spec               // the last one ordered; guarded by the Supervisor's mu

	spec     Spec
	opt      *Options
	log      zerolog.Logger
	recovery recovery

	quick    int  // ends in a row after less than HealthyAfter
	failures int  // of the camera in a row, without a new frame
	troubled bool // the loop or failure has been logged and not yet recovered from

	mu      sync.Mutex // guards all below
	status  Status
	orders  orders
	changed chan struct{} // closed and replaced at each change of them
}

func newAgent(spec Spec, o *Options, out *sink, one chan struct{}) *agent {
	a := &agent{
		name: spec.Name, settle: o.SettleTime, out: out, kick: make(chan struct{}, 1), gone: make(chan struct{}),
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
		if a.ordered() {
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
	a.orders.phase = runs
	a.mu.Unlock()
	a.set(Running, p.pid)
	a.log.WithLevel(a.routine()).Int("pid", p.pid).Msg("agent started")

	silent := a.follow(ctx, p, pulse)
	pulse.finish()
	e := p.end
	e.silent = silent
	e.frames, e.says = pulse.state()
	return e, a.opt.Now().Sub(began)
}

// recovered is called once in every process's life that lasts long enough.
func (a *agent) recovered() {
	if a.troubled {
		a.log.Info().Int("restarts", a.snapshot().Restarts).Msg("agent runs steadily again")
	}
	a.quick, a.troubled = 0, false
}

// judge draws the consequences of an end: state, log, and how long to wait
// before the next start.
func (a *agent) judge(e ending, life time.Duration) time.Duration {
	if life >= a.opt.HealthyAfter {
		a.recovered()
	}
	a.quick++
	v := e.verdict(a.spec.Path)
	switch {
	case e.frames > 0:
		a.failures = 0
	case v.camera:
		a.failures++
	}
	wait := a.pause()
	state := Backoff
	switch {
	case v.needsHand:
		state = Failed
		wait = a.opt.RestartBackoffMax
	case a.quick >= crashLoopAfter:
		state = CrashLoop
	}
	a.mu.Lock()
	if e.startErr == nil {
		a.status.Ends++
	}
	a.status.LastExit, a.status.Says, a.status.Failures = v.reason, "", a.failures
	a.status.Ready, a.orders.phase = false, over
	a.mu.Unlock()
	a.set(state, 0)
	a.report(state, v, life, wait)
	return wait
}

// report logs an end. The first end and the step into trouble are told
// loudly; what repeats itself afterwards is only counted in the status.
func (a *agent) report(state State, v verdict, life, wait time.Duration) {
	level, message := zerolog.WarnLevel, "agent ended, starting it again"
	switch {
	case a.troubled:
		level = zerolog.DebugLevel
	case state == Failed:
		level, message = zerolog.ErrorLevel, "agent cannot run"
	case state == CrashLoop:
		level, message = zerolog.ErrorLevel, "agent keeps ending, trying on slowly"
	}
	a.troubled = a.troubled || state != Backoff
	a.log.WithLevel(level).Str("reason", v.reason).Stringer("lived", life.Round(time.Millisecond)).
		Stringer("next_start_in", wait.Round(time.Millisecond)).Msg(message)
}

// pause doubles with every quick end. The jitter of ±25 % keeps the agents of
// a box from starting in step after a common cause ended them.
func (a *agent) pause() time.Duration {
	wait := a.opt.BackoffMin
	for i := 1; i < a.quick && wait < a.opt.RestartBackoffMax; i++ {
		wait *= 2
	}
	wait = time.Duration(float64(wait) * (0.75 + a.opt.Random()/2))
	return min(wait, a.opt.RestartBackoffMax)
}

// routine is the level for what happens at every start: silent in a loop.
func (a *agent) routine() zerolog.Level {
	if a.troubled {
		return zerolog.DebugLevel
	}
	return zerolog.InfoLevel
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
