package main

import (
	"fmt"
	"time"

	"framekeeper/internal/testkit/proctest"
	"framekeeper/pkg/redisconn"
)

// healLimit is how long an agent may take to recover before it counts as deaf.
const healLimit = 15 * time.Second

// calmTime is longer than the agent's settleTime: a refusal so soon after the
// last one is not logged again.
const calmTime = 1200 * time.Millisecond

// standard is one repetition of most faults: hurt, hold, heal, wait until the
// backlog is out.
func standard(r *rig, f *fault, hold time.Duration) sample {
	r.settle()
	if f.calm {
		r.wait(calmTime)
	}
	// Some of the agent's timers run in whole seconds, as the holds do.
	hold += time.Duration(r.random.Int64N(int64(hold/4 + 1)))
	began := time.Now()
	hurt := f.hurt(r)
	r.wait(hold)
	healed := hurt
	if f.heal != nil {
		healed = f.heal(r)
	}
	s := measure(r, f, began, hurt, healed)
	if f.check != nil {
		if err := f.check(r); err != nil {
			s.Problems = append(s.Problems, err.Error())
		}
	}
	return s
}

// measure waits for the recovery and takes the times. began is just before the
// fault, because the agent may be faster than our knowledge of it.
func measure(r *rig, f *fault, began, hurt, healed time.Time) sample {
	s := blank()
	msgLost, msgBack := f.lines()
	problem := func(format string, args ...any) { s.Problems = append(s.Problems, fmt.Sprintf(format, args...)) }

	lost, noticed := r.agent.Await(r.ctx, began, healLimit, func(e proctest.Event) bool { return e.Msg == msgLost })
	if !noticed {
		problem("the fault was never noticed")
		lost.At = hurt
	} else {
		s.Detect, s.Cause = max(lost.At.Sub(hurt), 0), lost.Cause
	}
	since := lost.At
	if early := healed.Add(-20 * time.Millisecond); early.After(since) {
		since = early
	}
	back, ok := r.agent.Await(r.ctx, since, healLimit, func(e proctest.Event) bool { return e.Msg == msgBack })
	if noticed && !ok {
		problem("no recovery within %s of the heal", healLimit)
	}
	if ok {
		back.At = liveAt(r.agent.Since(began), back, msgLost)
	} else {
		back.At = healed
	}
	out, ok := r.watcher.drained(r.ctx, later(back.At, healed), healLimit)
	if !ok {
		problem("no frame exposed after the heal came through within %s", healLimit)
		out = time.Now()
	} else {
		s.Drained = max(out.Sub(healed), 0)
	}
	recovery(&s, r.agent.Since(began), span{since, out}, healed, f)
	if !r.tune.silent {
		if at, ok := r.watcher.answered(r.ctx, later(lost.At, healed), healLimit); ok {
			s.Answer = max(at.Sub(healed), 0)
		} else {
			problem("no request was answered within %s of the heal", healLimit)
		}
	}
	s.window = span{hurt, later(back.At, hurt.Add(time.Second))}
	if len(s.Problems) > 0 {
		problem("the agent's log:\n%s", r.agent.Tail(12))
	}
	return s
}

// recovery reads from the log when the agent was LIVE for good, how often it
// lost its link, and whether it logged the right cause.
func recovery(s *sample, events []proctest.Event, in span, healed time.Time, f *fault) {
	msgLost, msgBack := f.lines()
	for _, e := range events {
		at := liveAt(events, e, msgLost)
		switch {
		case e.Msg == msgLost:
			s.Losses++
		case e.Msg == msgBack && !e.At.Before(in.from) && at.Before(in.to):
			s.Live = max(at.Sub(healed), 0) // the last one: a link may come and go first
		}
	}
	if !loggedCause(events, f.causes) {
		s.Problems = append(s.Problems, fmt.Sprintf("cause logged: %v, want one of %q", causesOf(events), f.causes))
	}
}

// liveAt is when an outage was over. Where sessions come and go the agent says
// so only once one has lasted, but counts up to that session's beginning.
func liveAt(events []proctest.Event, back proctest.Event, msgLost string) time.Time {
	at := back.At
	for _, e := range events {
		if e.Msg == msgLost && e.At.Before(back.At) {
			at = e.At.Add(time.Duration(back.LastedMS * float64(time.Millisecond)))
		}
	}
	if back.LastedMS > 0 && at.Before(back.At) {
		return at
	}
	return back.At
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func causesOf(events []proctest.Event) (causes []string) {
	seen := map[string]bool{"": true}
	for _, e := range events {
		if !seen[e.Cause] {
			seen[e.Cause] = true
			causes = append(causes, e.Cause)
		}
	}
	return causes
}

// repeat does all repetitions of one row and accounts for its frames.
func (o *options) repeat(f *fault) result {
	res := result{Name: f.name, Budget: f.budget, fault: f, Gap: never}
	reps, hold := o.repsFast, f.hold
	if f.slow {
		reps = o.repsSlow
	}
	if o.short {
		reps, hold = 1, f.short
	}
	if f.unable != nil {
		if err := f.unable(); err != nil {
			res.Skipped = err.Error()
			return res
		}
	}
	rigs := 1
	if f.fresh {
		rigs, reps = reps, 1
	}
	for range rigs {
		b := &bench{name: f.name, out: o.notes}
		if err := b.run(func() { o.onRig(b, f, &res, reps, hold) }); err != nil {
			res.Problems = append(res.Problems, err.Error())
			return res
		}
	}
	return res
}

// onRig does repetitions on one agent.
func (o *options) onRig(b *bench, f *fault, res *result, reps int, hold time.Duration) {
	r := &rig{bench: b, ctx: o.ctx, bin: o.bin, log: o.agentLog, tune: f.tune, random: o.random, short: o.short}
	f.world(r)
	rep := f.rep
	if rep == nil {
		rep = standard
	}
	if !f.fresh {
		began := time.Now()
		r.startAgent()
		r.startWatcher()
		r.ready(began)
	}
	first := len(res.Samples)
	for n := range reps {
		s := rep(r, f, hold)
		for _, p := range s.Problems {
			res.Problems = append(res.Problems, fmt.Sprintf("repetition %d: %s", n+1, p))
		}
		res.Samples = append(res.Samples, s)
		if f.tidy != nil && n < reps-1 {
			f.tidy(r)
		}
	}
	r.wait(time.Second + 100*time.Millisecond) // until the last window is over
	l, problems := r.closing()
	res.Ledger.add(l)
	res.Problems = append(res.Problems, problems...)
	shots := r.watcher.seen()
	for _, s := range res.Samples[first:] {
		fps, gap := capture(shots, s.window, o.stills)
		if f.tune.publish == 0 { // otherwise not every exposure leaves the agent
			res.sawCapture(fps, gap.length(), o.stills.within(gap))
		}
	}
}

// loggedCause reports whether one of the causes was named in these events.
func loggedCause(events []proctest.Event, causes []redisconn.Cause) bool {
	for _, e := range events {
		for _, c := range causes {
			if e.Cause == string(c) {
				return true
			}
		}
	}
	return len(causes) == 0
}
