package main

import (
	"fmt"
	"time"

	"framekeeper/internal/testkit/proctest"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/redisconn"
)

const (
	slowDelay = 200 * time.Millisecond // of each direction
	slowRate  = 10_000_000 / 8         // bytes a second
	flapHalf  = 300 * time.Millisecond
)

// lineRows are about the line itself: slow, and coming and going.
func lineRows() []*fault {
	return []*fault{{
		name: "slow line, 2.7 MB frames, then dark", slow: true,
		hold: 60 * time.Second, short: 8 * time.Second,
		// 10 Mbit/s carry a frame in 2.3 s.
		tune:  tuning{width: 1280, height: 720, publish: 0.25, encoding: "raw", silent: true},
		world: slowLine, rep: slowThenDark,
		causes: []redisconn.Cause{redisconn.CauseBlackHole, redisconn.CauseFrozen},
		// LIVE takes four round trips of 0.4 s: two connections, one after the
		// other, each with a greeting and a command. Before them may be the end
		// of an attempt that began in the dark, a pause, and what the line still
		// holds.
		budget: budget{Detect: 3 * time.Second, Live: 3 * time.Second},
	}, {
		name: "flapping, 0.3 s down, 0.3 s up", slow: true, hold: 50 * 2 * flapHalf, short: 8 * 2 * flapHalf,
		tune:  tuning{retain: "4MiB"}, // full before the first look at the memory
		world: behindProxy, rep: flapping,
		causes: []redisconn.Cause{redisconn.CauseClosed, redisconn.CauseRefused},
		budget: killBudget,
	}}
}

// slowLine prefers the kernel's netem; where there is none a proxy stands in.
func slowLine(r *rig) {
	if redistest.NetHostAvailable() == nil {
		farHost("")(r)
		if r.host.NetemAvailable() == nil {
			r.host.Shape(slowDelay, slowRate)
			r.Logf("the line is slowed by the kernel (netem)")
			return
		}
	}
	r.Logf("the line is slowed by a proxy: the kernel offers no netem here")
	behindProxy(r)
	r.proxy.Delay(redistest.Both, slowDelay)
	r.proxy.Limit(redistest.Both, slowRate)
}

// dark makes the slow line a silent one, or slow again.
func (r *rig) dark(on bool) {
	switch {
	case r.proxy == nil && on:
		r.host.Block(redistest.Both)
	case r.proxy == nil:
		r.host.Heal()
	case on:
		r.proxy.Stall(redistest.Both)
	default:
		r.proxy.Unstall(redistest.Both)
	}
}

// slowThenDark watches the slow line for the whole hold, in which nothing may
// be lost, and then lets it go dark.
func slowThenDark(r *rig, f *fault, hold time.Duration) sample {
	r.settle()
	watched := time.Now()
	r.wait(hold)
	early := blank()
	for _, e := range r.agent.Since(watched) {
		if e.Msg == msgLost {
			early.Problems = append(early.Problems, "the slow line was taken for dead: "+e.Text)
		}
	}
	began := time.Now()
	r.dark(true)
	r.wait(4 * time.Second)
	healed := time.Now()
	r.dark(false)
	s := measure(r, f, began, began, healed)
	s.Problems = append(early.Problems, s.Problems...)
	return s
}

// flapping cuts the line again and again, and compares what the agent holds of
// the machine before and after. Its times are those of the last heal.
func flapping(r *rig, f *fault, hold time.Duration) sample {
	r.settle()
	r.wait(6 * time.Second) // until what is retained has filled
	before := r.agent.Footprint()
	began := time.Now()
	healed := began
	for end := began.Add(hold); healed.Before(end); {
		r.proxy.Refuse()
		r.proxy.ResetAll()
		r.wait(flapHalf)
		healed = time.Now()
		r.proxy.Accept()
		if healed.Before(end) {
			r.wait(flapHalf)
		}
	}
	s := measure(r, f, began, began, healed)
	r.wait(2 * time.Second)
	if err := flat(before, r.agent.Footprint()); err != nil {
		s.Problems = append(s.Problems, err.Error())
	}
	return s
}

// flat says what has grown. The Go runtime keeps a thread or two more after any
// burst, and its heap breathes.
func flat(before, after proctest.Footprint) error {
	const threads, kib = 4, 24 << 10
	if after.FDs > before.FDs+2 || after.Threads > before.Threads+threads || after.RSSKiB > before.RSSKiB+before.RSSKiB/5+kib {
		return fmt.Errorf("the agent has grown from %s to %s", before, after)
	}
	return nil
}
