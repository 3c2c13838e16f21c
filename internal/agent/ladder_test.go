package agent

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/cli"
	"framekeeper/internal/configfile"
	"framekeeper/internal/logging"
	"framekeeper/internal/status"
	"framekeeper/internal/supervise"
	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/camera"
)

// The test binary stands in for cam-agent, and for the controller, when it is
// started with this as its first argument. The camera then has the fault that
// a file names.
const playAgent = "play-agent"

// encoderFault is the encoder's: it does not return.
const encoderFault fault = "encoder"

func play(part string, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if part == "controller" {
		s := supervise.New(supervise.Options{Agents: []supervise.Spec{agentOf(args[0], args[1])}, Output: os.Stdout})
		_ = s.Run(ctx)
		return 0
	}
	cli.LimitEnd(ctx, "cam-agent")
	cfg, err := configfile.Load(args[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return status.ExitUsage
	}
	log, closer, _ := logging.New(cfg.Log, "cam-agent", os.Stderr)
	defer closer.Close()
	fmt.Println("agent", os.Getpid())
	err = pipeline(ctx, cfg, cfg.Cameras[0], faultyDriver(args[1]), log)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cam-agent: "+err.Error())
	}
	return exitCode(err)
}

// faultyDriver has the fault that the file names. What hangs hangs once: the
// file is gone afterwards, as a fresh process clears a driver's knots.
func faultyDriver(file string) driver {
	present := func() fault {
		text, _ := os.ReadFile(file)
		switch f := fault(text); f {
		case hungFault:
			_ = os.Remove(file)
			return f
		case encoderFault:
			return noFault
		default:
			return f
		}
	}
	encode := func(dst []byte, _ *camera.Frame, _ int) ([]byte, error) {
		if text, _ := os.ReadFile(file); fault(text) == encoderFault {
			_ = os.Remove(file)
			select {}
		}
		return append(dst, "image"...), nil
	}
	return driver{open: faultyOpener(present), jpeg: encode}
}

func agentOf(config, faultFile string) supervise.Spec {
	return supervise.Spec{Name: "greencam1", Source: "test:", Path: os.Args[0], Args: []string{playAgent, "agent", config, faultFile}}
}

// ladder is one supervised agent with a faulty camera.
type ladder struct {
	asker *asker
	sup   *supervise.Supervisor
	file  string // names the fault
	out   testkit.Log
	log   testkit.Log
}

func newLadder(t *testing.T, o supervise.Options) *ladder {
	t.Helper()
	testkit.NeedRedis(t)
	server := redistest.Start(t)
	l := &ladder{file: filepath.Join(t.TempDir(), "fault")}
	path := writeConfig(t, server.URL(), "", tiny+"stall_timeout = \"300ms\"\nmax_reopens = 2\nstatus_interval = \"100ms\"")
	o.Agents, o.Output, o.Log = []supervise.Spec{agentOf(path, l.file)}, &l.out, zerolog.New(&l.log)
	l.sup = supervise.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = l.sup.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		if t.Failed() {
			t.Logf("supervisor:\n%s\nagent:\n%s", &l.log, &l.out)
		}
	})
	l.asker = newAsker(t, server.URL())
	l.asker.ask(t, nil)
	return l
}

func (l *ladder) set(t *testing.T, f fault) {
	t.Helper()
	next := l.file + ".new"
	if err := os.WriteFile(next, []byte(f), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, l.file); err != nil {
		t.Fatal(err)
	}
}

// frame asks until a frame exposed after now is there.
func (l *ladder) frame(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, "a new frame", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := l.asker.Request(ctx, map[string]any{"timeout_ms": 500})
		return err == nil
	})
}

func (l *ladder) restarted(t *testing.T, than int) status.Process {
	t.Helper()
	testkit.Eventually(t, "a fresh process", func() bool { a := l.sup.Agents()[0]; return a.PID != 0 && a.PID != than })
	return l.sup.Agents()[0]
}

// Each rung of the ladder, with real processes: what goes wrong, and how long
// it takes until the camera answers again.
func TestLadder(t *testing.T) {
	t.Parallel()
	const watchdog = 2 * time.Second
	for _, c := range []struct {
		name   string
		fall   func(t *testing.T, l *ladder, pid int)
		reason string
		hangs  int
	}{
		{"a stopped process", func(t *testing.T, _ *ladder, pid int) {
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}, "no sign of life", 1},
		{"an encoder that does not return", func(t *testing.T, l *ladder, _ int) { l.set(t, encoderFault) }, "no sign of life", 1},
		{"a driver that does not return", func(t *testing.T, l *ladder, _ int) { l.set(t, hungFault) }, "camera driver does not return", 0},
		{"a killed process", func(t *testing.T, _ *ladder, pid int) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}, "signal: killed", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLadder(t, supervise.Options{Settings: supervise.Settings{WatchdogTimeout: watchdog}})
			pid := l.sup.Agents()[0].PID
			began := time.Now()
			c.fall(t, l, pid)
			l.frame(t) // may still be of the old one: asking is what makes the encoder hang
			a := l.restarted(t, pid)
			l.frame(t)
			took := time.Since(began)
			if a.Hangs != c.hangs || !strings.Contains(a.LastExit, c.reason) {
				t.Errorf("got %d hangs and %q, want %d and %q", a.Hangs, a.LastExit, c.hangs, c.reason)
			}
			t.Logf("answered again after %v (watchdog %v, stall_timeout 300ms): %s", took.Round(time.Millisecond), watchdog, a.LastExit)
		})
	}
}

// The last rung: fresh processes do not help, the operator's command does.
func TestLadderEndsAtTheRecoveryCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	note := filepath.Join(dir, "note")
	// The fault's file has its name only once the ladder is there.
	command := fmt.Sprintf(`echo "$FRAMEKEEPER_CAMERA $FRAMEKEEPER_SOURCE $FRAMEKEEPER_EXIT_CODE $FRAMEKEEPER_RESTARTS" >%s; rm "$(cat %s/where)"`, note, dir)
	l := newLadder(t, supervise.Options{
		Settings: supervise.Settings{RestartBackoffMax: 500 * time.Millisecond, RecoveryAfter: 3, RecoveryCommand: command, WatchdogTimeout: 10 * time.Second},
	})
	if err := os.WriteFile(filepath.Join(dir, "where"), []byte(l.file), 0o600); err != nil {
		t.Fatal(err)
	}
	l.set(t, goneFault)
	began := time.Now()
	l.frame(t)
	took := time.Since(began)
	a := l.sup.Agents()[0]
	text, _ := os.ReadFile(note)
	if string(text) != "greencam1 test: 3 3\n" || a.Recoveries != 1 || a.LastRecovery != "exit status 0" || a.Failures != 0 {
		t.Errorf("the command got %q, the status is %+v; want one run after 3 failures", text, a)
	}
	t.Logf("answered again after %v and %d restarts", took.Round(time.Millisecond), a.Restarts)
}

// A camera that is only slow, or being reopened, is not the watchdog's affair.
func TestRetryingIsASignOfLife(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	l := &ladder{file: filepath.Join(t.TempDir(), "fault")}
	path := writeConfig(t, server.URL(), "", tiny+"stall_timeout = \"300ms\"\nmax_reopens = 1000")
	l.set(t, goneFault)
	l.sup = supervise.New(supervise.Options{
		Agents: []supervise.Spec{agentOf(path, l.file)}, Output: &l.out, Log: zerolog.New(&l.log), Settings: supervise.Settings{WatchdogTimeout: 500 * time.Millisecond},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = l.sup.Run(ctx) }()
	defer func() { cancel(); <-done }()
	testkit.Eventually(t, "an agent that reports what it waits for", func() bool {
		return strings.Contains(l.sup.Agents()[0].Says, "attempt 6 of 1000") // after 1.5 to 3 s
	})
	if a := l.sup.Agents()[0]; a.Restarts != 0 || a.Hangs != 0 {
		t.Errorf("got %+v, want no restart\n%s", a, &l.out)
	}
}

// A controller that is killed takes its agent along, soon, whatever state that
// is in; so the next one finds the camera free.
func TestAgentsEndWithAKilledController(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	const stopped fault = "stopped" // SIGSTOP: the kernel wakes it when no process is left that could
	for _, f := range []fault{noFault, silentFault, goneFault, hungFault, stopped, encoderFault} {
		t.Run("fault "+string(f), func(t *testing.T) {
			t.Parallel()
			if f == encoderFault && testing.Short() {
				t.Skip("takes all of the 5 s an agent has")
			}
			server := redistest.Start(t)
			l := &ladder{file: filepath.Join(t.TempDir(), "fault")}
			path := writeConfig(t, server.URL(), "", tiny+"max_reopens = 1000\nstall_timeout = \"1s\"")
			controller := exec.Command(os.Args[0], playAgent, "controller", path, l.file)
			stdout, err := controller.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := controller.Start(); err != nil {
				t.Fatal(err)
			}
			agent := 0
			lines := bufio.NewScanner(stdout)
			for agent == 0 && lines.Scan() {
				if rest, ok := strings.CutPrefix(lines.Text(), "agent "); ok {
					agent, _ = strconv.Atoi(rest)
				}
			}
			drained := make(chan struct{})
			go func() { defer close(drained); _, _ = io.Copy(io.Discard, stdout) }()
			t.Cleanup(func() { _ = syscall.Kill(agent, syscall.SIGKILL); <-drained })
			l.asker = newAsker(t, server.URL())
			l.asker.ask(t, nil)
			switch f {
			case noFault:
			case stopped:
				_ = syscall.Kill(agent, syscall.SIGSTOP)
				testkit.Eventually(t, "a stopped agent", func() bool { return strings.HasPrefix(processState(agent), "T") })
			default:
				l.set(t, f)
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				_, _ = l.asker.Request(ctx, nil) // so that the fault has begun
			}
			began := time.Now()
			_ = controller.Process.Kill()
			testkit.Eventually(t, "the end of the agent", func() bool { return !alive(agent) })
			t.Logf("the agent was gone after %v", time.Since(began).Round(time.Millisecond))
			_ = controller.Wait()
		})
	}
}

// alive is false for zombies too: a container may have no process that reaps orphans.
func alive(pid int) bool {
	s := processState(pid)
	return s != "" && s[0] != 'Z' && s[0] != 'X'
}

// processState begins with the letter of the state; "" without a process.
func processState(pid int) string {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(stat), ") ")
	return after
}
