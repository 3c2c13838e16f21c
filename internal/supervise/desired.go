package supervise

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// phase is how far the newest process of an agent has come.
type phase int

const (
	begun phase = iota // it is being started
	runs
	over
)

// desired is the desired state: what others want of an agent, and what they wait for.
type desired struct {
	stopped bool // no process is to run
	restart bool // what runs is to end, and a new process to start at once

	spec *Spec    // for the next process; nil: as the last one
	opt  *Options // from now on; nil: as before

	lives int // processes started, or tried to
	cut   int // the last of them that had to make way for an order; 0: none
	phase phase
}

// ErrEnding says that the supervisor is ending, or has not begun.
var ErrEnding = errors.New("the supervisor does not run")

// errGone says that the agent has left, and its camera with it or the supervisor.
var errGone = errors.New("the camera was taken out of the configuration meanwhile, or the controller is ending")

// request changes what is wanted and says how many processes there were before.
func (a *agent) request(change func(*desired)) (before int) {
	a.mu.Lock()
	before = a.desired.lives
	change(&a.desired)
	a.mu.Unlock()
	a.wake.Call()
	return before
}

// interrupted reports whether a process that runs is to end, and a wait too.
func (a *agent) interrupted() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.desired.stopped || a.desired.restart
}

// adopt takes over changed options. Only run's goroutine calls it.
func (a *agent) adopt() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.desired.opt != nil {
		a.use(a.desired.opt)
		a.desired.opt = nil
	}
}

// begin is called before each start.
func (a *agent) begin() {
	a.adopt()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.desired.spec != nil {
		a.spec, a.desired.spec = *a.desired.spec, nil
	}
	a.desired.restart = false
	a.desired.lives++
	a.desired.phase = begun
	a.status.Ready = false
}

// mayStart waits for as long as the agent is to be stopped, and says whether it
// is to go on.
func (a *agent) mayStart(ctx context.Context) bool {
	for ctx.Err() == nil {
		a.adopt()
		a.mu.Lock()
		stopped := a.desired.stopped
		a.mu.Unlock()
		if !stopped {
			return true
		}
		a.set(Stopped, 0)
		select {
		case <-a.wake:
		case <-ctx.Done():
		}
	}
	return false
}

// rest waits until the next start, which an order brings about at once.
func (a *agent) rest(ctx context.Context, wait time.Duration) {
	a.update(func(s *Status) { s.NextStart = a.opt.Now().Add(wait) })
	defer a.update(func(s *Status) { s.NextStart = time.Time{} })
	enough := a.opt.After(wait)
	for !a.interrupted() {
		select {
		case <-enough:
			return
		case <-a.wake:
			a.adopt()
		case <-ctx.Done():
			return
		}
	}
	a.forgive()
}

// forgive forgets what went before: whoever gives an order has looked into it.
func (a *agent) forgive() {
	a.restarts.Reset()
	a.failures = 0
	a.update(func(s *Status) {
		s.Says, s.Failures = "", 0
		a.desired.phase, a.desired.cut = over, a.desired.lives
	})
}

// update changes the status and wakes those who wait for a change. The change
// may touch the desired state too.
func (a *agent) update(change func(*Status)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.status)
	close(a.changed)
	a.changed = make(chan struct{})
}

// look is the agent as it is now, and a channel that is closed when it changes.
func (a *agent) look() (Status, desired, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status, a.desired, a.changed
}

// awaitLife waits for the first process after the given number of them: until
// it says that it is ready, or has run for a while without saying anything. The
// error says why it does not run. One that has to make way for another order is
// not the one to wait for: its successor is.
func (a *agent) awaitLife(ctx context.Context, before int) (Status, error) {
	settled := time.NewTimer(time.Hour)
	defer settled.Stop()
	for settling := false; ; {
		s, o, changed := a.look()
		switch {
		case o.stopped:
			return s, errors.New("it was stopped by another command meanwhile")
		case o.cut > before:
			before, settling = o.cut, false
			settled.Reset(time.Hour)
			continue
		case o.lives > before+1, o.lives == before+1 && o.phase == over:
			return s, fmt.Errorf("the new cam-agent has ended: %s", s.LastExit)
		case o.lives == before+1 && o.phase == runs && s.Ready:
			return s, nil
		case o.lives == before+1 && o.phase == runs && !settling:
			settling = true
			settled.Reset(a.settle)
		}
		select {
		case <-changed:
		case <-settled.C:
			return s, nil
		case <-a.gone:
			return s, errGone
		case <-ctx.Done():
			return s, fmt.Errorf("not within the time given: the agent is %s%s", s.State, after(": ", s.LastExit))
		}
	}
}

// awaitStop waits until no process runs.
func (a *agent) awaitStop(ctx context.Context) (Status, error) {
	for {
		s, o, changed := a.look()
		switch {
		case s.State == Stopped:
			return s, nil
		case !o.stopped:
			return s, errors.New("it was started by another command meanwhile")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return s, fmt.Errorf("not within the time given: the agent is %s, and stops when that is over", s.State)
		}
	}
}
