package supervise

import (
	"context"
	"os"
	"syscall"
	"time"
)

// start begins one process and listens to it.
func (a *agent) start() (*process, *notifications, error) {
	pulse, err := listen(a.opt.WatchdogTimeout)
	if err != nil {
		return nil, nil, err
	}
	address, socket, err := newSocket()
	if err != nil { // the agent has one in state_dir, as a rule
		a.log.Warn().Err(err).Msg("The agent gets no socket of the controller's")
	} else {
		defer func() { _ = socket.Close() }() // the agent has its own
	}
	p, err := start(launch{
		path: a.spec.Path, args: a.spec.Args, env: pulse.listener.Env(os.Environ(), a.opt.WatchdogTimeout), config: a.spec.Config, socket: socket, out: a.out,
		// SIGTERM, not SIGKILL, because an agent without a controller still has
		// frames to put on disk, and ends by itself within 5 s.
		orphan: syscall.SIGTERM,
	})
	if err != nil {
		_ = pulse.listener.Close()
		return nil, nil, err
	}
	go pulse.listen(p.pid) // joined by pulse.finish
	a.update(func(s *Status) { s.Socket = address })
	return p, pulse, nil
}

// follow waits for the end of the process, brings it about when ctx ends or it
// is silent for too long, and says how long it was silent in that case.
func (a *agent) follow(ctx context.Context, p *process, pulse *notifications) (silent time.Duration) {
	quiet := pulse.newWatchdog()
	defer quiet.end()
	healthy := a.opt.After(a.opt.HealthyAfter)
	for {
		select {
		case <-p.done:
			return 0
		case <-pulse.heard:
			if pulse.beat() {
				quiet.broken()
				a.update(func(s *Status) { s.Silent = time.Time{} })
			}
			a.says(pulse)
		case <-quiet.late.over():
			if quiet.strange() {
				a.update(func(s *Status) { s.Silent = quiet.heard })
			}
		case <-quiet.dead.over():
			if quiet.tooLong() {
				a.kill(p, pulse)
				return pulse.timeout
			}
		case <-healthy:
			healthy = nil
			a.restarts.Healthy(&a.log)
		case <-a.wake:
			if a.adopt(); a.interrupted() {
				a.stop(p)
				return 0
			}
		case <-ctx.Done():
			a.stop(p)
			return 0
		}
	}
}

// says takes over what the process said.
func (a *agent) says(pulse *notifications) {
	frames, text := pulse.state()
	a.update(func(s *Status) {
		s.Says, s.Ready = text, pulse.isReady()
		s.Frames, s.FramesAt = frames, a.opt.Now()
		if frames > 0 {
			s.Failures = 0
		}
	})
}

// kill ends a process that gives no sign of life. Go's runtime answers SIGQUIT
// with the stacks of all goroutines, which go to the log and say where it hangs.
// One that was stopped must go on for that; one inside the kernel says nothing.
func (a *agent) kill(p *process, pulse *notifications) {
	a.mu.Lock()
	a.status.Hangs++
	a.mu.Unlock()
	a.set(Hanging, p.pid)
	_, says := pulse.state()
	a.log.Error().Int("pid", p.pid).Stringer("watchdog_timeout", pulse.timeout).Str("last_said", says).
		Msg("Agent gives no sign of life, killing it")
	p.signal(syscall.SIGQUIT)
	p.signal(syscall.SIGCONT)
	limit := time.NewTimer(a.opt.DumpTimeout)
	defer limit.Stop()
	select {
	case <-p.done:
		return
	case <-limit.C:
	}
	p.killGroup()
	limit.Reset(a.opt.StopTimeout)
	select {
	case <-p.done:
		return
	case <-limit.C:
	}
	a.log.Error().Int("pid", p.pid).Msg("Agent cannot be killed, a driver holds it in the kernel: unplug the camera, or restart the box")
	<-p.done // there is no second agent as long as the first is there
}

// stop ends the process: politely, so that it can save what Redis has not
// taken yet, and by force when that takes too long.
func (a *agent) stop(p *process) {
	a.set(Stopping, p.pid)
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
		a.log.Info().Int("pid", p.pid).Msg("Agent stopped")
		return
	case <-a.opt.After(a.opt.StopTimeout):
	}
	a.log.Warn().Int("pid", p.pid).Stringer("after", a.opt.StopTimeout).Msg("Agent does not stop, killing it")
	p.killGroup()
	<-p.done // SIGKILL cannot be refused
}
