package main

import (
	"fmt"
	"time"

	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/redisconn"
)

// freezeRows leave the connection standing while Redis does nothing.
func freezeRows() []*fault {
	frozen := []redisconn.Cause{redisconn.CauseFrozen}
	return []*fault{{
		name: "frozen (SIGSTOP)", hold: 5 * time.Second, short: 2500 * time.Millisecond,
		budget: holeBudget, world: plain, causes: frozen, check: noStorm,
		hurt: func(r *rig) time.Time {
			at := time.Now()
			r.server.Freeze()
			return at
		},
		heal: func(r *rig) time.Time {
			at := time.Now()
			r.server.Thaw()
			return at
		},
	}, {
		name: "frozen (DEBUG SLEEP)", hold: 5 * time.Second, short: 2500 * time.Millisecond,
		budget: holeBudget, world: plain, causes: frozen, check: noStorm,
		hurt: debugSleep, heal: awake,
	}}
}

// debugSleep makes Redis do nothing for a while by its own command.
func debugSleep(r *rig) time.Time {
	d := 5 * time.Second
	if r.short {
		d /= 2
	}
	awake := make(chan time.Time, 1)
	r.awake = awake
	at := time.Now()
	go func() { // awake joins it
		_, _ = r.server.TryDo("DEBUG", "SLEEP", fmt.Sprint(d.Seconds()))
		awake <- time.Now()
	}()
	return at
}

func awake(r *rig) time.Time { return <-r.awake }

// noStorm compares how often XADD was called with how many entries there are:
// a frame sent again and again would show.
func noStorm(r *rig) error {
	var calls, added int64
	stat := r.server.Info("commandstats")["cmdstat_xadd"]
	if _, err := fmt.Sscanf(stat, "calls=%d", &calls); err != nil {
		return fmt.Errorf("read the count of XADD from %q: %w", stat, err)
	}
	info, _ := r.server.Do("XINFO", "STREAM", "frames:"+cameraName).([]any)
	for i := 0; i+1 < len(info); i += 2 {
		if info[i] == "entries-added" {
			added, _ = info[i+1].(int64)
		}
	}
	if most := added + added/20 + 64; calls > most {
		return fmt.Errorf("resend storm: %d XADD calls for %d entries", calls, added)
	}
	return nil
}

// holeRows swallow packets without a word, in each direction and by two means:
// a packet filter in the far host, and a hardware address that nobody has.
func holeRows() []*fault {
	var all []*fault
	for _, how := range []struct {
		name string
		opts []redistest.NetHostOption
	}{{"nft", nil}, {"neighbour", []redistest.NetHostOption{redistest.WithNeighbourDrop()}}} {
		for _, way := range []struct {
			name string
			d    redistest.Direction
		}{{"both ways", redistest.Both}, {"to Redis", redistest.ToServer}, {"from Redis", redistest.ToClient}} {
			all = append(all, &fault{
				name: fmt.Sprintf("black hole %s (%s)", way.name, how.name),
				hold: 3 * time.Second, short: 2 * time.Second, budget: holeBudget,
				unable: redistest.NetHostAvailable,
				causes: []redisconn.Cause{redisconn.CauseBlackHole},
				world:  farHost(how.name, how.opts...),
				hurt: func(r *rig) time.Time {
					at := time.Now()
					r.host.Block(way.d)
					return at
				},
				heal: func(r *rig) time.Time {
					at := time.Now()
					r.host.Heal()
					return at
				},
			})
		}
	}
	return all
}

// farHost puts Redis into a host of its own. The watcher's unix socket leads
// there past the network.
func farHost(method string, opts ...redistest.NetHostOption) func(*rig) {
	return func(r *rig) {
		r.host = redistest.NewNetHost(r, opts...)
		if got := r.host.Method(); method != "" && got != method {
			r.Fatalf("packets can only be dropped by %s here, not by %s", got, method)
		}
		r.serve(r.host.Start())
	}
}
