package supervise

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Changes are the cameras an Update touched, and those it did not.
type Changes struct {
	Started   []string `json:"started"`
	Restarted []string `json:"restarted"`
	Stopped   []string `json:"stopped"` // they are no longer configured
	Kept      []string `json:"kept"`    // what runs goes on; what was stopped by command stays so
}

// Update makes the supervisor run these agents with these options: what is new
// starts, what is gone ends, what needs a new process (Spec.needsRestart) gets
// one, and all others keep theirs. It returns when that has come about; the
// error names the agents for which it has not. What Options leaves open of the
// clock and the output stays as it was.
func (s *Supervisor) Update(ctx context.Context, o Options) (Changes, error) {
	s.mu.Lock()
	if s.ctx == nil || s.ctx.Err() != nil {
		s.mu.Unlock()
		return Changes{}, ErrEnding
	}
	changes, waits := s.update(o)
	s.mu.Unlock()
	errs := make([]error, len(waits))
	var wg sync.WaitGroup
	for i, w := range waits {
		wg.Go(func() { errs[i] = w(ctx) })
	}
	wg.Wait()
	return changes, errors.Join(errs...)
}

// update requests everything. The caller holds mu.
func (s *Supervisor) update(o Options) (c Changes, waits []func(context.Context) error) {
	o.inherit(&s.opt)
	s.opt = o
	next := o // the agents' copy
	old := s.agents
	s.agents = nil
	for _, spec := range o.Agents {
		at := slices.IndexFunc(old, func(a *agent) bool { return a.name == spec.Name })
		if at < 0 {
			a := s.add(spec)
			s.start(a)
			c.Started = append(c.Started, a.name)
			waits = append(waits, a.waitFor(0))
			continue
		}
		a := old[at]
		s.agents = append(s.agents, a)
		restart := a.latest.needsRestart(&spec)
		a.latest = spec
		stopped := false
		before := a.request(func(r *desired) {
			r.spec, r.opt = &spec, &next
			stopped = r.stopped
			r.restart = r.restart || restart && !stopped
		})
		if restart && !stopped {
			c.Restarted = append(c.Restarted, a.name)
			waits = append(waits, a.waitFor(before))
		} else {
			c.Kept = append(c.Kept, a.name)
		}
	}
	for _, a := range old {
		if !slices.Contains(s.agents, a) {
			c.Stopped = append(c.Stopped, a.name)
			s.leaving[a.name] = a.gone
			a.cancel()
			waits = append(waits, a.waitGone)
		}
	}
	return c, waits
}

func (a *agent) waitFor(before int) func(context.Context) error {
	return func(ctx context.Context) error {
		if _, err := a.awaitLife(ctx, before); err != nil {
			return fmt.Errorf("camera %s: %w", a.name, err)
		}
		return nil
	}
}

func (a *agent) waitGone(ctx context.Context) error {
	select {
	case <-a.gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("camera %s: not stopped within the time given", a.name)
	}
}

// inherit fills what is left open with what was in force.
func (o *Options) inherit(before *Options) {
	if o.Output == nil {
		o.Output = before.Output
	}
	if o.Now == nil {
		o.Now = before.Now
	}
	if o.After == nil {
		o.After = before.After
	}
	if o.Random == nil {
		o.Random = before.Random
	}
	o.fillDefaults()
}
