package main

import (
	"net"
	"time"

	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/redisconn"
)

// stateRows are states of Redis in which it answers and yet cannot be used.
func stateRows() []*fault {
	return []*fault{{
		name: "LOADING at restart", budget: killBudget, calm: true,
		world: func(r *rig) {
			r.serve(redistest.Start(r, redistest.WithRDB(), redistest.WithSlowLoading(400*time.Microsecond)))
			r.server.Do("DEBUG", "POPULATE", "3000", "filler", "2000")
		},
		causes: []redisconn.Cause{redisconn.CauseLoading},
		hurt: func(r *rig) time.Time {
			r.server.Do("SAVE") // so that it has something to load
			at := time.Now()
			r.server.Kill()
			return at
		},
		heal: func(r *rig) time.Time {
			restart(r)
			r.server.AwaitReady()
			return r.server.Boot().ReadyAt()
		},
	}, {
		name: "OOM", hold: 3 * time.Second, short: time.Second,
		budget: soonBudget, world: plain, lost: msgRefused, back: msgAccepted,
		causes: []redisconn.Cause{redisconn.CauseOOM},
		hurt:   maxMemory("1mb"), heal: maxMemory("0"),
	}, {
		name: "READONLY (REPLICAOF and back)", hold: 2 * time.Second, short: time.Second,
		budget: soonBudget, causes: []redisconn.Cause{redisconn.CauseReadOnly}, calm: true,
		world: func(r *rig) {
			r.serve(redistest.Start(r))
			r.other = redistest.Start(r)
		},
		hurt: func(r *rig) time.Time {
			host, port, err := net.SplitHostPort(r.other.Addr())
			if err != nil {
				r.Fatalf("%v", err)
			}
			at := time.Now()
			r.server.Do("REPLICAOF", host, port) // it takes over the other's empty data
			return at
		},
		heal: func(r *rig) time.Time {
			at := time.Now()
			r.server.Promote()
			return at
		},
	}}
}

func maxMemory(size string) func(*rig) time.Time {
	return func(r *rig) time.Time {
		at := time.Now()
		r.server.ConfigSet("maxmemory", size)
		return at
	}
}

const (
	downAfter     = time.Second
	failoverLimit = 30 * time.Second
	// quietTime is how long the sentinels wait between two failovers of one
	// master: twice the failover-timeout that redistest sets.
	quietTime = 10500 * time.Millisecond
)

// sentinelRows take the master away from under a Sentinel trio. Recovery counts
// from the fault, because nobody heals anything.
func sentinelRows() []*fault {
	row := func(name string, hurt, revive func(*redistest.Server), causes ...redisconn.Cause) *fault {
		return &fault{
			name: name, slow: true, budget: budget{Detect: 1500 * time.Millisecond, Live: downAfter + 3*time.Second},
			causes: causes,
			world: func(r *rig) {
				r.set = redistest.StartSentinel(r, downAfter)
				r.way = redisconn.Default()
				r.way.SentinelName, r.way.Sentinels = r.set.Name(), r.set.SentinelAddrs()
				r.settings = []string{setting("sentinel_master", r.way.SentinelName), "sentinel_addrs = " + list(r.way.Sentinels)}
			},
			hurt: func(r *rig) time.Time {
				r.victim = r.set.Master()
				at := time.Now()
				hurt(r.victim)
				return at
			},
			tidy: func(r *rig) {
				r.set.AwaitFailover(r.victim, failoverLimit)
				revive(r.victim)
				if !r.short {
					r.wait(quietTime)
				}
				r.whole()
			},
		}
	}
	return []*fault{
		row("Sentinel: master killed", (*redistest.Server).Kill, (*redistest.Server).Restart, redisconn.CauseClosed),
		row("Sentinel: master frozen", (*redistest.Server).Freeze, (*redistest.Server).Thaw, redisconn.CauseFrozen),
	}
}

func list(items []string) string {
	text := "["
	for _, item := range items {
		text += `"` + item + `", `
	}
	return text + "]"
}

// whole waits until the returned server is a replica that is in step.
func (r *rig) whole() {
	deadline := time.Now().Add(failoverLimit)
	for {
		info := r.victim.Info("replication")
		if info["role"] == "slave" && info["master_link_status"] == "up" {
			return
		}
		if time.Now().After(deadline) {
			r.Fatalf("the old master has not become a replica within %s: role %s, link %s", failoverLimit, info["role"], info["master_link_status"])
		}
		r.wait(50 * time.Millisecond)
	}
}
