package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit/proctest"
	"framekeeper/internal/testkit/redistest"
)

const stockName = "stock"

// outcome is what one agent made of one fault.
type outcome struct {
	Fault   string        `json:"fault"`
	Agent   string        `json:"agent"`
	Noticed time.Duration `json:"noticed"` // after the fault; Never
	Words   string        `json:"words,omitempty"`
	Answer  time.Duration `json:"answer"` // after the heal; Never
}

// stockMode lets cam-agent and the stock agent meet the same faults of the same
// Redis at the same time.
func (o *options) stockMode() error {
	var all []outcome
	kill, hole, access := killRows()[1], holeRows()[0], accessRows()[2]
	freeze := freezeRows()[0]
	kill.hold, freeze.hold, hole.hold, access.hold = 2*time.Second, o.observe, o.observe, 5*time.Second
	for _, f := range []*fault{kill, freeze, hole, access} {
		if f.unable != nil {
			if err := f.unable(); err != nil {
				fmt.Fprintf(o.out, "%s: skipped: %v\n", f.name, err)
				continue
			}
		}
		b := &bench{name: f.name, out: o.notes}
		if err := b.run(func() { all = append(all, o.both(b, f)...) }); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	fmt.Fprintf(o.out, "each fault watched for %s, and for %s after its heal; never: not within that time\n", o.observe, o.observe)
	g := newGrid(o.out, "fault", "held", "agent", "noticed after, ms", "answers again after the heal, ms", "what it said")
	var wrong []string
	held := map[string]time.Duration{kill.name: kill.hold, freeze.name: freeze.hold, hole.name: hole.hold, access.name: access.hold}
	for _, c := range all {
		g.row(c.Fault, held[c.Fault].String(), c.Agent, orNever(c.Noticed), orNever(c.Answer), c.Words)
		if c.Agent == cameraName && (c.Noticed == never || c.Answer == never) {
			wrong = append(wrong, c.Fault+": cam-agent did not notice or did not recover")
		}
	}
	g.end()
	return o.finish(all, wrong)
}

func orNever(d time.Duration) string {
	if d == never {
		return "never"
	}
	return ms(d)
}

// both runs the two agents through one fault.
func (o *options) both(b *bench, f *fault) []outcome {
	r := &rig{bench: b, ctx: o.ctx, bin: o.bin, log: o.agentLog, random: o.random}
	if redistest.NetHostAvailable() == nil {
		r.host = redistest.NewNetHost(r)
		r.serve(r.host.Start(withAgentUser()))
	} else {
		r.serve(redistest.Start(r, withAgentUser()))
	}
	r.logIn()
	began := time.Now()
	r.startAgent()
	r.startWatcher()
	r.ready(began)
	stock, err := proctest.Spawn(r.TempDir(), r.log, r.bin.stock, "-url", r.server.URL(),
		"-username", agentUser, "-password-file", r.file, "-camera", stockName)
	if err != nil {
		r.Fatalf("%v", err)
	}
	r.Cleanup(func() { _ = stock.End(syscall.SIGKILL) })
	ctx, cancel := context.WithCancel(r.ctx)
	asker := watch(ctx, r.way, stockName, true, zerolog.Nop())
	r.Cleanup(func() { cancel(); asker.wg.Wait() })
	r.settle()
	if _, ok := asker.answered(ctx, time.Now(), startLimit); !ok {
		r.Fatalf("the stock agent does not answer although nothing is broken")
	}

	hurt := f.hurt(r)
	r.wait(f.hold)
	healed := f.heal(r)
	deadline := healed.Add(o.observe)
	look := func(name string, p *proctest.Process, w *watcher) outcome {
		c := outcome{Fault: f.name, Agent: name, Noticed: never, Answer: never}
		if at, ok := w.answered(ctx, later(healed, hurt), max(time.Until(deadline), time.Millisecond)); ok {
			c.Answer = at.Sub(healed)
		}
		if e, ok := p.Await(ctx, hurt, time.Millisecond, func(proctest.Event) bool { return true }); ok {
			c.Noticed, c.Words = e.At.Sub(hurt), e.Msg
		}
		return c
	}
	return []outcome{look(cameraName, r.agent, r.watcher), look(stockName, stock, asker)}
}
