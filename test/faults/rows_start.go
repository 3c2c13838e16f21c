package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/redisconn"
)

// startRows are troubles before the first connection of a session.
func startRows() []*fault {
	return []*fault{{
		name: "boot order: Redis 3 s after the agent", fresh: true, hold: 3 * time.Second, short: time.Second,
		lost: msgNotReachable, back: msgConnected,
		causes: []redisconn.Cause{redisconn.CauseRefused},
		budget: budget{LiveP50: 100 * time.Millisecond, Live: 250 * time.Millisecond},
		world:  func(*rig) {}, rep: agentFirst,
	}, {
		name: "name does not resolve", hold: 2 * time.Second, short: time.Second,
		budget: soonBudget, unable: privateMountsAvailable,
		causes: []redisconn.Cause{redisconn.CauseDNS},
		world:  byName,
		hurt: func(r *rig) time.Time {
			r.names.fail(true)
			at := time.Now()
			r.server.KillClients("pubsub") // a standing connection needs no name
			return at
		},
		heal: func(r *rig) time.Time {
			at := time.Now()
			r.names.fail(false)
			return at
		},
	}}
}

// agentFirst starts the agent against a port where nothing listens yet.
func agentFirst(r *rig, f *fault, hold time.Duration) sample {
	port := redistest.FreePort(r)
	r.way = redisconn.Default()
	r.way.URL = "redis://127.0.0.1:" + itoa(port)
	r.settings = []string{setting("url", r.way.URL)}
	began := time.Now()
	r.startAgent()
	r.startWatcher()
	r.wait(hold)
	r.server = redistest.Start(r, redistest.WithPort(port))
	return measure(r, f, began, began, r.server.AcceptedAt())
}

// serverName is a name that only our own name server knows.
const serverName = "redis.framekeeper.test"

// byName lets the agent find Redis by a name. It runs with a resolv.conf of its
// own, in a private mount namespace, so that this machine's stays as it is.
func byName(r *rig) {
	r.serve(redistest.Start(r))
	names, err := newNameServer()
	if err != nil {
		r.Fatalf("%v", err)
	}
	r.Cleanup(names.close)
	r.names = names
	resolv := filepath.Join(r.TempDir(), "resolv.conf")
	text := "nameserver " + names.ip + "\noptions timeout:1 attempts:1\n"
	if err := os.WriteFile(resolv, []byte(text), 0o600); err != nil {
		r.Fatalf("write resolv.conf: %v", err)
	}
	r.settings = []string{setting("url", "redis://"+serverName+":"+itoa(r.server.Port()))}
	r.wrap = []string{"unshare", "--mount", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, resolv}
}

func privateMountsAvailable() error {
	if os.Geteuid() != 0 {
		return errNeedsRoot
	}
	return exec.Command("unshare", "--mount", "true").Run()
}
