package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"framekeeper/internal/testkit/proctest"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/stream"
)

// scene is one camera over many starts of its agent, with a reader in step, one
// that can be held back, and one that hears what is published.
type scene struct {
	*rig
	dir      string
	spoolDir string
	delivery []string // lines of the agent's [delivery] table
	fps      int
	width    int // of raw frames; the height is 3/4 or 9/16 of it
	height   int
	target   int

	listener *listener
	laggard  *laggard             // nil: nobody lags
	expected stream.ConsumerStats // what the reader in step has to report besides frames

	atEnd    func()     // what else has to hold once all was read; may be nil
	torn     []frame.ID // frames damaged in the spool
	kills    []kill
	ends     map[uint64]frame.ID // epochs that ended in order
	tails    map[string][]time.Duration
	figures  []string
	problems []string
}

// frameBytes is the size of a frame, near enough, with the usual settings.
const frameBytes = 160 * 120 * 3

func newScene(r *rig) *scene {
	s := &scene{
		rig: r, fps: 50, width: 160, height: 120, target: fullTarget,
		ends: map[uint64]frame.ID{}, tails: map[string][]time.Duration{},
	}
	if r.short {
		s.target = shortTarget
	}
	return s
}

func (s *scene) interval() time.Duration { return time.Second / time.Duration(s.fps) }

func (s *scene) problem(format string, args ...any) {
	s.problems = append(s.problems, fmt.Sprintf(format, args...))
}

func (s *scene) figure(format string, args ...any) {
	s.figures = append(s.figures, fmt.Sprintf(format, args...))
}

// pick is the long or the short form of something.
func pick[T any](s *scene, full, short T) T {
	if s.short {
		return short
	}
	return full
}

// set adds a line to the [delivery] table.
func (s *scene) set(key, value string) { s.delivery = append(s.delivery, setting(key, value)) }

// behindProxy puts a proxy between the agent and its Redis.
func (s *scene) behindProxy(opts ...redistest.Option) {
	s.serve(redistest.Start(s, opts...))
	s.proxy = redistest.NewProxy(s, s.server.Addr())
	s.settings = []string{setting("url", s.proxy.URL())}
}

// begin starts the agent and all readers, and waits until frames flow.
func (s *scene) begin() {
	s.prepare()
	s.startWatcher()
	s.listener = s.listen()
	began := time.Now()
	s.launch()
	s.ready(began)
	s.settle()
}

func (s *scene) prepare() {
	if s.dir == "" {
		s.dir = s.TempDir()
	}
	s.stateDir = filepath.Join(s.dir, "state")
	if s.spoolDir == "" {
		s.spoolDir = filepath.Join(s.dir, "spool")
	}
	s.writeConfig(filepath.Join(s.dir, "config.toml"), s.stateDir, s.spoolDir)
}

func (s *scene) writeConfig(file, stateDir, spoolDir string) {
	text := strings.Join([]string{
		setting("state_dir", stateDir),
		"[redis]", strings.Join(s.settings, "\n"),
		"[delivery]", setting("spool_dir", spoolDir), strings.Join(s.delivery, "\n"),
		"[log]", setting("format", "json"),
		"[[camera]]", setting("name", cameraName), setting("source", "test:"),
		fmt.Sprintf("width = %d\nheight = %d\nfps = %d\npublish_fps = %d", s.width, s.height, s.fps, s.fps),
		setting("encoding", "raw"), setting("status_interval", "1s"), "",
	}, "\n")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.Fatalf("write config: %v", err)
	}
}

// until waits for a condition outside this process.
func (s *scene) until(what string, cond func() bool) {
	for deadline := time.Now().Add(startLimit); !cond(); {
		if time.Now().After(deadline) {
			s.Fatalf("no %s within %s", what, startLimit)
		}
		s.pause(5 * time.Millisecond)
	}
}

// away and back take the agent's way to Redis and give it back; the data stays.
func (s *scene) away() {
	s.proxy.Refuse()
	s.proxy.ResetAll()
}

func (s *scene) back() time.Time {
	at := time.Now()
	s.proxy.Accept()
	return at
}

// drain waits until all that was held back has come through.
func (s *scene) drain(limit time.Duration) (took time.Duration) {
	from := time.Now()
	if _, ok := s.watcher.drained(s.ctx, from, limit); !ok {
		s.Fatalf("no new frame came through within %s; the agent's log:\n%s", limit, s.agent.Tail(20))
	}
	return time.Since(from)
}

// fill lets the agent run until the reader in step has enough frames.
func (s *scene) fill() {
	limit := 2 * time.Duration(s.target) * s.interval()
	most := s.target + 20 // not every entry is a frame
	if !s.watcher.await(s.ctx, limit+startLimit, func() bool { return len(s.watcher.shots) >= most }) {
		s.Fatalf("not %d frames within %s; the agent's log:\n%s", s.target, limit+startLimit, s.agent.Tail(20))
	}
}

// logged waits for a line of the agent's log.
func (s *scene) logged(since time.Time, limit time.Duration, what string, match func(proctest.Event) bool) bool {
	if _, ok := s.agent.Await(s.ctx, since, limit, match); !ok {
		s.problem("the agent did not say within %s: %s; its log:\n%s", limit, what, s.agent.Tail(20))
		return false
	}
	return true
}

// close ends the agent in order and makes the books.
func (s *scene) close(res *lossResult) {
	s.drain(startLimit)
	s.stop()
	last := s.ends[s.epoch()]
	s.finishReader("the reader in step", s.watcher, last)
	res.Books = s.balance(s.watcher)
	res.Books.check("in step", s)
	if res.Books.Trimmed > 0 {
		s.problem("the reader in step lost %d frames to trimming", res.Books.Trimmed)
	}
	got := s.watcher.consumer.Stats()
	got = stream.ConsumerStats{Undeclared: got.Undeclared, Corrupt: got.Corrupt, UncleanStart: got.UncleanStart, Restarts: got.Restarts}
	if got != s.expected {
		s.problem("the reader in step reports %+v, want %+v", got, s.expected)
	}
	s.problems = append(s.problems, s.unread(s.watcher.seen(), last.Epoch)...)
	s.problems = append(s.problems, s.reused()...)
	if s.laggard != nil {
		res.Laggard = s.closeLaggard(last)
	}
	if s.atEnd != nil {
		s.atEnd()
	}
}

func (s *scene) closeLaggard(last frame.ID) *books {
	s.finishReader("the laggard", s.laggard.watcher, last)
	tails := s.tails
	s.tails = map[string][]time.Duration{} // counted once
	b := s.balance(s.laggard.watcher)
	s.tails = tails
	b.check("lagging", s)
	if u := s.laggard.consumer.Stats().Undeclared; u > 0 {
		s.problem("the laggard reports %d undeclared frames", u)
	}
	return &b
}

func (s *scene) finishReader(name string, w *watcher, last frame.ID) {
	if !w.reached(s.ctx, last, 30*time.Second) {
		s.problem("%s did not read up to the agent's last frame %s: %+v", name, last, w.consumer.Stats())
	}
}
