package main

import (
	"encoding/json"
	"fmt"
	"syscall"
	"time"

	"framekeeper/internal/testkit/proctest"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/frame"
)

// soakFigures are what -mode soak reports.
type soakFigures struct {
	Seed       uint64               `json:"seed"`
	Faults     map[string]int       `json:"faults"`
	Footprints []proctest.Footprint `json:"footprints"` // warm, middle, end
	Fresh      int                  `json:"goroutines_fresh"`
	Goroutines int                  `json:"goroutines_end"`
	Ledger     ledger               `json:"ledger"`
	Samples    []sample             `json:"samples"`
	Problems   []string             `json:"problems"`
}

// warmUp is how long the agent runs before its footprint is first taken: the
// frames it retains and the answers it remembers have filled their bounds.
const warmUp = 3 * time.Minute

// soakMode hurts one agent at random for a long time. The same seed chooses the
// same faults.
func (o *options) soakMode() error {
	fig := soakFigures{Seed: o.seed, Faults: map[string]int{}}
	b := &bench{name: "soak", out: o.notes}
	if err := b.run(func() { o.soak(b, &fig) }); err != nil {
		fig.Problems = append(fig.Problems, err.Error())
	}
	fmt.Fprintf(o.out, "%d random faults in %.0f minutes, seed %d\n", len(fig.Samples), o.minutes, o.seed)
	for _, f := range soakFaults() {
		fmt.Fprintf(o.out, "  %3d  %s\n", fig.Faults[f.name], f.name)
	}
	for i, when := range []string{"warm", "middle", "end"} {
		if i < len(fig.Footprints) {
			fmt.Fprintf(o.out, "%-7s %s\n", when, fig.Footprints[i])
		}
	}
	fmt.Fprintf(o.out, "goroutines: %d in a fresh agent, %d at the end\n", fig.Fresh, fig.Goroutines)
	fmt.Fprintf(o.out, "LIVE after heal, ms: %s\n", spreadOf(fig.Samples, func(s sample) time.Duration { return s.Live }))
	fmt.Fprintf(o.out, "captured/delivered/declared/duplicates/undeclared: %s\n", fig.Ledger)
	return o.finish(fig, fig.Problems)
}

// soakFaults are the rows that can happen to one and the same agent.
func soakFaults() []*fault {
	all := killRows()[:2]
	all = append(all, freezeRows()...)
	if redistest.NetHostAvailable() == nil {
		all = append(all, holeRows()[:3]...)
	}
	all = append(all, accessRows()...)
	all = append(all, replyRows()...)
	for _, f := range stateRows() {
		if f.name == "OOM" {
			all = append(all, f)
		}
	}
	return all
}

func (o *options) soak(b *bench, fig *soakFigures) {
	complain := func(format string, args ...any) { fig.Problems = append(fig.Problems, fmt.Sprintf(format, args...)) }
	r := &rig{bench: b, ctx: o.ctx, bin: o.bin, log: o.agentLog, random: o.random}
	soakWorld(r)
	began := time.Now()
	r.startAgent()
	r.startWatcher()
	r.ready(began)
	r.wait(3 * time.Second)
	fig.Fresh = o.goroutinesOfFresh(b)
	total := time.Duration(o.minutes * float64(time.Minute))
	marks := []time.Time{began.Add(min(warmUp, total/4)), began.Add(total / 2)}
	all := soakFaults()
	for n := 1; time.Since(began) < total; n++ {
		if len(marks) > 0 && time.Now().After(marks[0]) {
			marks = marks[1:]
			r.settle()
			fig.Footprints = append(fig.Footprints, r.agent.Footprint())
		}
		f := *all[r.random.IntN(len(all))]
		f.causes, f.check = nil, nil // the proxy between hides what is behind it
		hold := f.hold/2 + time.Duration(r.random.Int64N(int64(f.hold/2+1)))
		s := standard(r, &f, hold)
		for _, p := range s.Problems {
			complain("fault %d, %s held %s: %s", n, f.name, hold, p)
		}
		fig.Samples = append(fig.Samples, s)
		fig.Faults[f.name]++
		fmt.Fprintf(o.notes, "%s  %3d %-40s LIVE %s ms after heal, %s\n",
			time.Since(began).Round(time.Second), n, f.name, ms(s.Live), r.agent.Footprint())
	}
	o.endOfSoak(r, fig, complain)
}

// endOfSoak looks at what is left when all faults are over.
func (o *options) endOfSoak(r *rig, fig *soakFigures, complain func(string, ...any)) {
	r.wait(5 * time.Second)
	fig.Footprints = append(fig.Footprints, r.agent.Footprint())
	if err := flat(fig.Footprints[0], r.agent.Footprint()); err != nil {
		complain("%v", err)
	}
	last := r.newest()
	if !r.watcher.reached(r.ctx, last, 10*time.Second) {
		complain("the watcher did not read up to %s", last)
	}
	fig.Ledger = account(r.watcher.seen(), last)
	if fig.Ledger.Undeclared+fig.Ledger.Duplicates > 0 {
		complain("%d frames undeclared, %d duplicates (by %+v)", fig.Ledger.Undeclared, fig.Ledger.Duplicates, fig.Ledger.Again)
	}
	_ = r.agent.End(syscall.SIGQUIT) // ends with the dump that is counted
	if fig.Goroutines = r.agent.Goroutines(); fig.Goroutines > fig.Fresh+5 {
		complain("%d goroutines at the end, %d in a fresh agent", fig.Goroutines, fig.Fresh)
	}
}

// soakWorld has everything the faults need: a far host where possible, an ACL
// user, and a proxy before it all.
func soakWorld(r *rig) {
	if redistest.NetHostAvailable() == nil {
		r.host = redistest.NewNetHost(r)
		r.serve(r.host.Start(withAgentUser()))
	} else {
		r.serve(redistest.Start(r, withAgentUser()))
	}
	r.proxy = redistest.NewProxy(r, r.server.Addr())
	r.settings = []string{setting("url", r.proxy.URL())}
	r.logIn()
}

// goroutinesOfFresh counts those of an agent that has just settled.
func (o *options) goroutinesOfFresh(b *bench) int {
	fresh := &rig{bench: b, ctx: o.ctx, bin: o.bin, random: o.random}
	plain(fresh)
	began := time.Now()
	fresh.startAgent()
	fresh.ready(began)
	fresh.wait(2 * time.Second)
	_ = fresh.agent.End(syscall.SIGQUIT) // ends with the dump that is counted
	return fresh.agent.Goroutines()
}

// newest is the last ID that the agent says it gave.
func (r *rig) newest() frame.ID {
	var status struct {
		Outbox struct {
			Newest frame.ID `json:"newest"`
		} `json:"outbox"`
	}
	text, _ := r.server.Do("GET", "status:"+cameraName).(string)
	if err := json.Unmarshal([]byte(text), &status); err != nil {
		r.Fatalf("read status %q: %v", text, err)
	}
	return status.Outbox.Newest
}
