package main

import (
	"time"

	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/redisconn"
)

// The budgets of the matrix.
var (
	killBudget = budget{Detect: 50 * time.Millisecond, LiveP50: 100 * time.Millisecond, Live: 250 * time.Millisecond}
	holeBudget = budget{Detect: 1500 * time.Millisecond, Live: time.Second}
	soonBudget = budget{Detect: 1500 * time.Millisecond, Live: 1500 * time.Millisecond}
	cutBudget  = budget{Detect: 50 * time.Millisecond, Live: 250 * time.Millisecond}
)

// rows is the link's part of the fault matrix.
func rows() []*fault {
	var all []*fault
	for _, group := range [][]*fault{killRows(), freezeRows(), holeRows(), accessRows(), replyRows(), stateRows(), sentinelRows(), lineRows(), startRows()} {
		all = append(all, group...)
	}
	return all
}

func plain(r *rig) { r.serve(redistest.Start(r)) }

// killRows take the process away; `--save ""` is redistest's default, so the
// data goes with it.
func killRows() []*fault {
	row := func(name string, slow bool, hold, short time.Duration) *fault {
		return &fault{
			name: name, slow: slow, hold: hold, short: short, budget: killBudget, world: plain,
			hurt: func(r *rig) time.Time {
				at := time.Now()
				r.server.Kill()
				return at
			},
			heal:   restart,
			causes: []redisconn.Cause{redisconn.CauseClosed},
		}
	}
	return []*fault{
		row("killed, back after 0.1 s", false, 100*time.Millisecond, 100*time.Millisecond),
		row("killed, back after 2 s", false, 2*time.Second, 2*time.Second),
		row("killed, back after 30 s", true, 30*time.Second, 4*time.Second),
	}
}

// restart brings a killed server back and returns when it accepted again.
func restart(r *rig) time.Time {
	boot := r.server.RestartAsync()
	select {
	case <-boot.Accepted:
	case <-boot.Exited:
		r.Fatalf("redis-server ended at its restart:\n%s", r.server.Log())
	case <-r.ctx.Done():
		r.Fatalf("interrupted")
	}
	return boot.AcceptedAt()
}
