package supervise

import (
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"framekeeper/pkg/outbox"
)

func TestRestartsAfterCrash(t *testing.T) {
	out := &output{}
	s, stop := running(t, Options{Agents: []Spec{agentSpec("obedient")}, Output: out, Log: testLog(t), BackoffMin: time.Millisecond})
	first := out.number(t, "pid")
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another process", func() bool {
		a := s.Agents()[0]
		return a.State == Running && a.PID != first
	})
	a := s.Agents()[0]
	if a.Restarts != 1 || a.Ends != 1 || a.LastExit != "signal: killed" {
		t.Errorf("got restarts %d, unexpected ends %d, last exit %q, want 1, 1, %q", a.Restarts, a.Ends, a.LastExit, "signal: killed")
	}
	eventually(t, "the second pid", func() bool { return out.number(t, "pid") == a.PID })
	stop()
	if got := s.Agents()[0]; got.State != Stopped || got.PID != 0 || got.Ends != 1 {
		t.Errorf("after Run: got state %s, pid %d, unexpected ends %d, want stopped, 0, 1", got.State, got.PID, got.Ends)
	}
	if alive(a.PID) {
		t.Errorf("process %d is still there", a.PID)
	}
	if !strings.Contains(out.String(), "ended in order\n") {
		t.Errorf("the agent was not stopped in order; it said:\n%s", out)
	}
}

// pauses is a clock that never waits for a restart and notes how long it
// should have.
type pauses struct {
	mu     sync.Mutex // guards seen
	seen   []time.Duration
	enough chan struct{}
	limit  int
}

func (p *pauses) after(d time.Duration) <-chan time.Time {
	if d == healthyInTests {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, d)
	switch {
	case len(p.seen) == p.limit:
		close(p.enough)
		return nil
	case len(p.seen) > p.limit:
		return nil
	}
	ready := make(chan time.Time, 1)
	ready <- time.Time{}
	return ready
}

const healthyInTests = 33 * time.Second

// endings runs an agent until it has ended n times.
func endings(t *testing.T, n int, o Options) ([]time.Duration, Status) {
	t.Helper()
	p := &pauses{limit: n, enough: make(chan struct{})}
	o.After, o.HealthyAfter, o.Log = p.after, healthyInTests, testLog(t)
	if o.Random == nil {
		o.Random = func() float64 { return 0.5 } // no jitter
	}
	s, stop := running(t, o)
	select {
	case <-p.enough:
	case <-time.After(30 * time.Second):
		t.Fatal("the agent did not end often enough within 30 s")
	}
	got := s.Agents()[0]
	stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen, got
}

func TestBackoffGrowsIntoCrashLoop(t *testing.T) {
	agents := []Spec{agentSpec("exit", "1")}
	seen, at4 := endings(t, 4, Options{Agents: agents, Settings: Settings{RestartBackoffMax: 3 * time.Second}})
	want := []time.Duration{200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond, 1600 * time.Millisecond}
	if !slices.Equal(seen, want) {
		t.Errorf("got pauses %v, want %v", seen, want)
	}
	if at4.State != Backoff || at4.LastExit != "exit code 1" || at4.NextStart.IsZero() {
		t.Errorf("after 4 ends: got %s, %q, next start %v, want backoff, exit code 1 and when it goes on", at4.State, at4.LastExit, at4.NextStart)
	}
	seen, at6 := endings(t, 6, Options{Agents: agents, Settings: Settings{RestartBackoffMax: 3 * time.Second}})
	if last := seen[len(seen)-1]; last != 3*time.Second {
		t.Errorf("got a sixth pause of %v, want the configured longest, 3s", last)
	}
	if at6.State != CrashLoop || at6.Restarts != 5 || at6.Ends != 6 {
		t.Errorf("after 6 ends: got %s, %d restarts, %d unexpected ends, want crash-loop, 5, 6", at6.State, at6.Restarts, at6.Ends)
	}
}

func TestBackoffJitter(t *testing.T) {
	for _, c := range []struct {
		random float64
		want   time.Duration
	}{{0, 150 * time.Millisecond}, {1, 250 * time.Millisecond}} {
		seen, _ := endings(t, 1, Options{Agents: []Spec{agentSpec("exit", "1")}, Random: func() float64 { return c.random }})
		if seen[0] != c.want {
			t.Errorf("random %v: got a pause of %v, want %v", c.random, seen[0], c.want)
		}
	}
}

func TestLongLifeForgivesQuickEnds(t *testing.T) {
	var mu sync.Mutex // guards now
	now := time.Unix(1e9, 0)
	clock := func() time.Time { // every look at the clock is a minute later
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Minute)
		return now
	}
	seen, got := endings(t, 7, Options{Agents: []Spec{agentSpec("exit", "1")}, Now: clock})
	for i, d := range seen {
		if d != 200*time.Millisecond {
			t.Errorf("pause %d: got %v, want 200ms", i, d)
		}
	}
	if got.State != Backoff {
		t.Errorf("got %s, want backoff", got.State)
	}
}

func TestExitCodes(t *testing.T) {
	const loader = "bin/cam-agent: error while loading shared libraries: libopencv_core.so.406: cannot open shared object file: No such file"
	for _, c := range []struct {
		spec   Spec
		state  State
		pause  time.Duration
		reason []string
	}{
		{agentSpec("exit", "2"), Failed, 30 * time.Second, []string{"configuration", "exit code 2"}},
		{agentSpec("say", "cam-agent: source needs OpenCV", "2"), Failed, 30 * time.Second, []string{"exit code 2): source needs OpenCV"}},
		{agentSpec("exit", "3"), Backoff, 200 * time.Millisecond, []string{"the camera gave up (exit code 3)"}},
		{agentSpec("say", "cam-agent: camera abandoned after 5 attempts to reopen it: no /dev/video0: plug it in", "3"), Backoff, 200 * time.Millisecond,
			[]string{"camera abandoned after 5 attempts to reopen it (exit code 3): no /dev/video0: plug it in"}},
		{agentSpec("say", "gst: something else", "3"), Backoff, 200 * time.Millisecond, []string{"the camera gave up (exit code 3): gst: something else"}},
		{agentSpec("exit", "4"), Backoff, 200 * time.Millisecond, []string{"another cam-agent serves the camera (exit code 4)"}},
		{agentSpec("say", "cam-agent: redis: "+outbox.ErrClaimed.Error()+": process 7 on host box2 answers for it", "4"), Backoff, 200 * time.Millisecond,
			[]string{"another cam-agent serves the camera (exit code 4): process 7 on host box2 answers for it"}},
		{agentSpec("say", loader, "127"), Failed, 30 * time.Second, []string{"libopencv_core.so.406", "apt-get install libopencv-dev", "--noopencv"}},
		{agentSpec("say", "sh: no such thing", "127"), Backoff, 200 * time.Millisecond, []string{"127", "no such thing"}},
		{Spec{Name: "cam1", Path: "/nowhere/cam-agent"}, Failed, 30 * time.Second, []string{"/nowhere/cam-agent", "no such file"}},
	} {
		seen, got := endings(t, 1, Options{Agents: []Spec{c.spec}})
		if ran := got.Ends == 1; ran != !strings.HasPrefix(got.LastExit, "cannot start") {
			t.Errorf("%v: got %d unexpected ends after %q, want those of processes that ran", c.spec.Args, got.Ends, got.LastExit)
		}
		if got.State != c.state || seen[0] != c.pause {
			t.Errorf("%v: got %s and a pause of %v, want %s, %v", c.spec.Args, got.State, seen[0], c.state, c.pause)
		}
		for _, part := range c.reason {
			if !strings.Contains(got.LastExit, part) || strings.Count(got.LastExit, "camera g") > 1 {
				t.Errorf("%v: got reason %q, want %q in it", c.spec.Args, got.LastExit, part)
			}
		}
	}
}

func TestStopKillsTheStubborn(t *testing.T) {
	out := &output{}
	s, stop := running(t, Options{Agents: []Spec{agentSpec("stubborn")}, Output: out, Log: testLog(t), StopTimeout: 50 * time.Millisecond})
	child, grandchild := out.number(t, "pid"), out.number(t, "grandchild")
	stop()
	eventually(t, "the end of both processes", func() bool { return !alive(child) && !alive(grandchild) })
	if got := s.Agents()[0].State; got != Stopped {
		t.Errorf("got %s, want stopped", got)
	}
}

// A crashed agent must not leave an exec source behind that holds the camera.
func TestCrashTakesGrandchildrenAlong(t *testing.T) {
	out := &output{}
	_, _ = running(t, Options{Agents: []Spec{agentSpec("messy")}, Output: out, Log: testLog(t), BackoffMin: time.Hour})
	child, grandchild := out.number(t, "pid"), out.number(t, "grandchild")
	if err := syscall.Kill(child, syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the grandchild", func() bool { return !alive(grandchild) })
}

func TestAgentsVanishWithAKilledSupervisor(t *testing.T) {
	out := &output{}
	spec := agentSpec("supervise")
	parent := exec.Command(spec.Path, spec.Args...)
	parent.Stdout = out
	parent.WaitDelay = 10 * time.Second
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	child := out.number(t, "pid")
	if !alive(child) {
		t.Fatalf("agent %d is not running before the kill", child)
	}
	t.Cleanup(func() { _ = syscall.Kill(child, syscall.SIGKILL) })
	_ = parent.Process.Kill()
	_ = parent.Wait()
	eventually(t, "the end of the agent", func() bool { return !alive(child) })
}

func TestManyAgents(t *testing.T) {
	var specs []Spec
	for _, name := range []string{"a", "b", "c"} {
		spec := agentSpec("obedient")
		spec.Name = name
		specs = append(specs, spec)
	}
	s, stop := running(t, Options{Agents: specs, Log: testLog(t)})
	eventually(t, "three running agents", func() bool {
		return !slices.ContainsFunc(s.Agents(), func(a Status) bool { return a.State != Running })
	})
	pids := map[int]bool{}
	for _, a := range s.Agents() {
		pids[a.PID] = true
	}
	if len(pids) != 3 {
		t.Errorf("got pids %v, want three", pids)
	}
	stop()
	for pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is still there", pid)
		}
	}
}
