package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit/proctest"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

const cameraName = "cam"

// rig is one agent, the Redis it depends on, and a watcher.
type rig struct {
	*bench
	ctx    context.Context
	bin    binaries
	log    io.Writer // receives the agent's log; nil: nobody
	tune   tuning
	random *rand.Rand
	short  bool // the short form: faults last a shorter time

	// What world has set up.
	server   *redistest.Server
	other    *redistest.Server
	host     *redistest.NetHost
	proxy    *redistest.Proxy
	set      *redistest.SentinelSet
	names    *nameServer
	settings []string         // lines of the agent's [redis] table
	way      redisconn.Config // the watcher's, which the fault spares
	wrap     []string         // a command that the agent is run by

	// What the rows remember between hurt, heal and tidy.
	victim *redistest.Server
	awake  <-chan time.Time
	file   string
	count  int

	home     string // the agent's directory
	stateDir string
	agent    *proctest.Process
	watcher  *watcher
}

// startLimit is how long an agent may take from its start to LIVE.
const startLimit = 20 * time.Second

// serve makes server the agent's Redis, reached directly, and the watcher's,
// reached by its unix socket.
func (r *rig) serve(server *redistest.Server) {
	r.server = server
	r.settings = []string{setting("url", server.URL())}
	r.way = redisconn.Default()
	r.way.URL = "unix://" + server.Socket()
}

func setting(key, value string) string { return fmt.Sprintf("%s = %q", key, value) }

// startAgent writes a configuration and starts an agent on it.
func (r *rig) startAgent() {
	if r.home == "" {
		r.home = r.TempDir()
	}
	if r.stateDir == "" {
		r.stateDir = filepath.Join(r.home, "state")
	}
	config := filepath.Join(r.home, "config.toml")
	if err := os.WriteFile(config, []byte(r.config(cameraName, r.home)), 0o600); err != nil {
		r.Fatalf("write config: %v", err)
	}
	command := append(append([]string(nil), r.wrap...), r.bin.agent, "--config", config)
	agent, err := proctest.Spawn(r.home, r.log, command[0], command[1:]...)
	if err != nil {
		r.Fatalf("%v", err)
	}
	r.Cleanup(func() { _ = agent.End(syscall.SIGKILL) })
	r.agent = agent
}

func (r *rig) config(camera, dir string) string {
	t := r.tune.orDefault()
	return strings.Join([]string{
		setting("state_dir", r.stateDir),
		"[redis]", strings.Join(r.settings, "\n"),
		"[delivery]", setting("retain_bytes", t.retain), setting("spool_dir", filepath.Join(dir, "spool")),
		"[log]", setting("format", "json"),
		"[[camera]]", setting("name", camera), setting("source", "test:"),
		fmt.Sprintf("width = %d\nheight = %d\nfps = %d\npublish_fps = %v", t.width, t.height, cameraFPS, t.publish),
		setting("encoding", t.encoding), setting("status_interval", "1s"), "",
	}, "\n")
}

// startWatcher starts what reads and asks.
func (r *rig) startWatcher() {
	ctx, cancel := context.WithCancel(r.ctx)
	log := zerolog.Nop()
	if r.log != nil {
		log = zerolog.New(r.log).With().Str("program", "watcher").Logger()
	}
	w := watch(ctx, r.way, cameraName, !r.tune.silent, log)
	r.watcher = w
	r.Cleanup(func() { cancel(); w.wg.Wait() })
}

// ready waits until the agent has been LIVE since an instant.
func (r *rig) ready(since time.Time) {
	_, ok := r.agent.Await(r.ctx, since, startLimit, func(e proctest.Event) bool { return e.Msg == msgConnected || e.Msg == msgBack })
	if !ok {
		r.Fatalf("the agent is not LIVE within %s of its start; its log:\n%s", startLimit, r.agent.Tail(20))
	}
}

// settle waits until frames flow, and then a random part of the probe's
// interval, so that repetitions meet the agent at different moments.
func (r *rig) settle() {
	if _, ok := r.watcher.drained(r.ctx, time.Now(), startLimit); !ok {
		r.Fatalf("no frame for %s although nothing is broken; the agent's log:\n%s", startLimit, r.agent.Tail(20))
	}
	r.wait(100*time.Millisecond + time.Duration(r.random.Int64N(int64(600*time.Millisecond))))
}

// pause lets time pass without looking at any agent.
func (r *rig) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.ctx.Done():
		r.Fatalf("interrupted")
	}
}

// wait lets time pass while the agent runs.
func (r *rig) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.agent.Exited:
		r.Fatalf("the agent ended by itself; its log:\n%s", r.agent.Tail(20))
	case <-r.ctx.Done():
		r.Fatalf("interrupted")
	}
}

// closing ends the agent in order and the account of all its frames.
func (r *rig) closing() (l ledger, problems []string) {
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if err := r.agent.End(syscall.SIGTERM); err != nil {
		complain("the agent ended with %v; its log:\n%s", err, r.agent.Tail(20))
		return l, problems
	}
	state, err := readLeft(r.stateDir, cameraName)
	if err != nil {
		complain("%v", err)
		return l, problems
	}
	if !state.Clean {
		complain("the agent ended without having handed over all frames; its log:\n%s", r.agent.Tail(20))
	}
	if !r.watcher.reached(r.ctx, state.Last, time.Second) {
		r.startAgent() // what a slow line did not take in time is on disk
		defer func() { _ = r.agent.End(syscall.SIGTERM) }()
	}
	if !r.watcher.reached(r.ctx, state.Last, 3*startLimit) { // a slow line takes its time to begin, too
		complain("the watcher did not read up to the agent's last frame %s: %+v", state.Last, r.watcher.consumer.Stats())
	}
	shots := r.watcher.seen()
	if s := r.watcher.consumer.Stats(); s.Undeclared+s.Trimmed+s.Corrupt+s.UncleanStart+s.Restarts > 0 {
		complain("the consumer reports %+v", s)
	}
	problems = append(problems, r.unread(shots, state.Last.Epoch)...)
	return account(shots, state.Last), problems
}

// unread compares what the stream holds at the end, up to an epoch, with what
// was read from it.
func (r *rig) unread(shots []shot, last uint64) (problems []string) {
	server := r.server
	if r.set != nil {
		server = r.set.Master()
	}
	read := map[string]bool{}
	for _, s := range shots {
		read[s.id.String()] = true
	}
	after := "-"
	for {
		reply, _ := server.Do("XRANGE", "frames:"+cameraName, after, "+", "COUNT", "100").([]any)
		for _, entry := range reply {
			pair, ok := entry.([]any)
			if !ok || len(pair) != 2 {
				return append(problems, fmt.Sprintf("the stream's entry is %v", entry))
			}
			id := fmt.Sprint(pair[0])
			if parsed, err := frame.ParseID(id); err == nil && parsed.Epoch > last {
				return problems
			}
			if !read[id] {
				problems = append(problems, fmt.Sprintf("the stream holds %s, which was never read", id))
			}
			after = "(" + id
		}
		if len(reply) == 0 {
			return problems
		}
	}
}
