package supervise

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"framekeeper/internal/sdnotify"
	"framekeeper/internal/testkit/proctest"
)

// The test binary stands in for cam-agent: started with this as its first
// argument it plays the part the second names.
const playAgent = "play-agent"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == playAgent {
		os.Exit(play(os.Args[2], os.Args[3:]))
	}
	goleak.VerifyTestMain(m)
}

func play(part string, args []string) int {
	switch part {
	case "exit":
		code, _ := strconv.Atoi(args[0])
		return code
	case "say": // to standard error, then end with a code
		fmt.Fprintln(os.Stderr, args[0])
		code, _ := strconv.Atoi(args[1])
		return code
	case "obedient": // ends in order on SIGTERM
		terms := make(chan os.Signal, 1)
		signal.Notify(terms, syscall.SIGTERM)
		fmt.Println("pid", os.Getpid())
		<-terms
		fmt.Println("ended in order")
		return 0
	case "stubborn": // ignores SIGTERM, and so does its child
		signal.Ignore(syscall.SIGTERM)
		child := exec.Command("/bin/sh", "-c", "trap '' TERM; echo grandchild $$; while :; do sleep 1; done")
		child.Stdout = os.Stdout
		if err := child.Start(); err != nil {
			return 9
		}
		fmt.Println("pid", os.Getpid())
		select {}
	case "messy": // dies and leaves a child behind
		child := exec.Command("/bin/sh", "-c", "echo grandchild $$; exec sleep 1000")
		child.Stdout = os.Stdout
		if err := child.Start(); err != nil {
			return 9
		}
		terms := make(chan os.Signal, 1)
		signal.Notify(terms, syscall.SIGUSR1)
		fmt.Println("pid", os.Getpid()) // not before: the signal would be ignored
		<-terms
		return 1
	case "beating": // gives frames and signs of life until SIGUSR1, then hangs
		return beat(args[0])
	case "talking":
		for sender := sdnotify.FromEnv(os.Getenv); ; time.Sleep(20 * time.Millisecond) {
			_ = sender.Send(sdnotify.Status("all well"), sdnotify.Ready)
		}
	case "frames": // gave some, ends all the same
		_ = sdnotify.FromEnv(os.Getenv).Send(FramesVariable + "=7")
		code, _ := strconv.Atoi(args[0])
		return code
	case "panic":
		panic("all is lost")
	case "fatal":
		new(sync.Mutex).Unlock()
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "supervise": // a whole supervisor, to be killed from outside
		s := New(Options{Agents: []Spec{agentSpec("obedient")}, Output: os.Stdout})
		_ = s.Run(context.Background())
		return 0
	}
	fmt.Fprintln(os.Stderr, "unknown part", part)
	return 99
}

func beat(frames string) int {
	sender := sdnotify.FromEnv(os.Getenv)
	usr := make(chan os.Signal, 1)
	signal.Notify(usr, syscall.SIGUSR1)
	fmt.Println("pid", os.Getpid())
	tick := time.NewTicker(min(sender.Watchdog()/8, BeatInterval))
	defer tick.Stop()
	for {
		if err := sender.Send(FramesVariable+"="+frames, sdnotify.Status("all well"), sdnotify.Ready, sdnotify.Watchdog); err != nil {
			fmt.Println(err)
			return 9
		}
		fmt.Println("beat")
		select {
		case <-tick.C:
		case <-usr:
			var never sync.Mutex
			never.Lock()
			never.Lock() // the timer's goroutine and the signals' keep Go from noticing
		}
	}
}

func agentSpec(part string, args ...string) Spec {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return Spec{Name: "cam1", Path: self, Args: append([]string{playAgent, part}, args...)}
}

// output collects what agents say and lets a test wait for it.
type output struct{ proctest.Output }

// number waits for a line "word N" and returns N.
func (o *output) number(t *testing.T, word string) int {
	t.Helper()
	n := 0
	eventually(t, "a line with "+word, func() bool {
		for line := range strings.Lines(o.String()) {
			if rest, ok := strings.CutPrefix(line, word+" "); ok {
				n, _ = strconv.Atoi(strings.TrimSpace(rest))
			}
		}
		return n > 0
	})
	return n
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited 20 s in vain for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// alive is false for zombies too: in a container nobody may reap orphans.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X")
}

// running starts a supervisor and returns the function that ends it and waits.
func running(t *testing.T, o Options) (s *Supervisor, stop func()) {
	t.Helper()
	s = New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run returned %v, want nil", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Run did not return within 20 s")
		}
	})
	t.Cleanup(stop)
	return s, stop
}

func testLog(t *testing.T) zerolog.Logger { return zerolog.New(zerolog.NewTestWriter(t)) }
