package main

import (
	"cmp"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// agentFault is a row of -mode agents: what becomes of an agent, or of all of
// them, and how soon there has to be a new frame.
type agentFault struct {
	name     string
	watchdog string // "": 2s
	brief    bool   // it belongs to the short form
	once     bool   // else it strikes one camera after the other
	all      bool   // it strikes all cameras at once
	prepare  func(x *box, n int)
	hurt     func(x *box, n int) time.Time // and says since when camera n has no agent
	budget   time.Duration
}

func agentFaults() []agentFault {
	return []agentFault{
		{name: "agent killed -9", brief: true, hurt: (*box).killAgent, budget: 2 * time.Second},
		{name: "agent stopped, watchdog_timeout 2s", brief: true, hurt: (*box).freezeAgent, budget: 4 * time.Second},
		{name: "agent stopped, watchdog_timeout 10s", watchdog: "10s", hurt: (*box).freezeAgent, budget: 12 * time.Second},
		{name: "agent out of memory (RLIMIT_AS)", hurt: (*box).starve, budget: 2 * time.Second},
		{name: "agent killed -9 for the 8th time in a row", once: true, prepare: (*box).crashLoop, hurt: (*box).killAgent, budget: 32 * time.Second},
		{name: "controller killed -9, started again", brief: true, all: true, hurt: (*box).killController, budget: 4 * time.Second},
	}
}

// agentsMode measures, for each row, how long a camera is without a new frame.
func (o *options) agentsMode() error {
	var wrong []string
	figures := map[string][]time.Duration{}
	g := newGrid(o.out, "fault", "reps", "new frame after, ms", "budget", "delivered", "declared", "undeclared", "duplicates", "agents killed", "unclean starts")
	for _, f := range agentFaults() {
		if !o.run.MatchString(f.name) || o.ctx.Err() != nil {
			continue
		}
		x, times, err := o.agentRow(f, 1)
		if err != nil {
			return err
		}
		for _, p := range x.problems {
			wrong = append(wrong, f.name+": "+p)
		}
		var sum boxBooks
		for _, b := range x.books {
			sum.delivered, sum.declared, sum.undeclared = sum.delivered+b.delivered, sum.declared+b.declared, sum.undeclared+b.undeclared
			sum.duplicates, sum.killed, sum.unclean = sum.duplicates+b.duplicates, sum.killed+b.killed, sum.unclean+b.unclean
		}
		row := []string{f.name, fmt.Sprint(len(times)), spreadOfTimes(times).String(), ms(f.budget)}
		for _, n := range []uint64{sum.delivered, sum.declared, sum.undeclared, sum.duplicates, sum.killed, sum.unclean} {
			row = append(row, fmt.Sprint(n))
		}
		g.row(row...)
		figures[f.name] = times
	}
	g.end()
	return o.finish(figures, wrong)
}

// agentRow runs a row in a box of its own. slack widens the budget.
func (o *options) agentRow(f agentFault, slack time.Duration) (*box, []time.Duration, error) {
	x, err := o.newBox("agents")
	if err != nil {
		return nil, nil, err
	}
	reps := boxCameras
	if f.once || o.short {
		reps = 1
	}
	var times []time.Duration
	if err := x.run(func() {
		x.open(cmp.Or(f.watchdog, "2s"))
		for n := range reps {
			x.drain()
			took := x.renewed(f, n, slack*f.budget)
			fmt.Fprintf(o.notes, "%s: a new frame after %s ms\n", f.name, ms(took))
			times = append(times, took)
		}
		x.drain()
		x.close()
	}); err != nil {
		x.problem("%v", err)
	}
	return x, times, nil
}

// renewed strikes camera n and measures until there is a frame of a new agent;
// where all are struck, the last camera to have one counts.
func (x *box) renewed(f agentFault, n int, budget time.Duration) (longest time.Duration) {
	if f.prepare != nil {
		f.prepare(x, n)
	}
	struck := []int{n}
	if f.all {
		struck = []int{0, 1, 2, 3}
	}
	var epochs []uint64
	for _, w := range x.readers {
		epochs = append(epochs, w.epoch())
	}
	from := f.hurt(x, n)
	for _, c := range struck {
		at, ok := x.readers[c].anew(x.ctx, epochs[c], budget+startLimit)
		if !ok {
			x.Fatalf("no new frame of %s; the log:\n%s", boxCamera(c), x.controller.Tail(20))
		}
		longest = max(longest, at.Sub(from))
	}
	if longest > budget {
		x.problem("no new frame for %s ms, budget %s", ms(longest), ms(budget))
	}
	return longest
}

func (x *box) killAgent(n int) time.Time   { return x.strike(n, syscall.SIGKILL) }
func (x *box) freezeAgent(n int) time.Time { return x.strike(n, syscall.SIGSTOP) }

// starve lets the agent have no more memory: the next time it needs some, it is
// over. How long that takes is not the box's doing.
func (x *box) starve(n int) time.Time {
	pid := x.pid(boxCamera(n))
	little := unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}
	if err := unix.Prlimit(pid, unix.RLIMIT_AS, &little, nil); err != nil {
		x.Fatalf("limit the memory of process %d: %v", pid, err)
	}
	limited := time.Now()
	for syscall.Kill(pid, 0) == nil {
		if time.Since(limited) > time.Minute {
			x.Fatalf("%s has lived for a minute without more memory", boxCamera(n))
		}
		x.pause(5 * time.Millisecond)
	}
	x.kills[n]++
	fmt.Fprintf(x.out, "%s ended %s ms after it was limited\n", boxCamera(n), ms(time.Since(limited)))
	return time.Now()
}

// crashLoop kills the agent seven times, each as soon as it shows itself, and
// leaves the eighth.
func (x *box) crashLoop(n int) {
	for range 7 {
		w := x.readers[n]
		epoch := w.epoch()
		x.killAgent(n)
		if _, ok := w.anew(x.ctx, epoch, time.Minute); !ok {
			x.Fatalf("no new agent of %s; the log:\n%s", boxCamera(n), x.controller.Tail(20))
		}
	}
}

// killController kills the controller, whose agents then end in order, and
// starts it again, as systemd does.
func (x *box) killController(int) time.Time {
	at := time.Now()
	_ = x.controller.End(syscall.SIGKILL)
	x.control()
	return at
}
