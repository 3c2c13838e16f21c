package supervise

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// journal is a log to look into.
func journal(t *testing.T) (zerolog.Logger, *output) {
	out := &output{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", out)
		}
	})
	return zerolog.New(out), out
}

const shortWatchdog = 400 * time.Millisecond

func TestHungAgentIsReplaced(t *testing.T) {
	for _, c := range []struct {
		name string
		hang syscall.Signal
	}{{"stopped", syscall.SIGSTOP}, {"deadlocked", syscall.SIGUSR1}} {
		t.Run(c.name, func(t *testing.T) {
			out := &output{}
			log, said := journal(t)
			s, _ := running(t, Options{
				Agents: []Spec{agentSpec("beating", "1")}, Output: out, Log: log, BackoffMin: time.Millisecond,
				Settings: Settings{WatchdogTimeout: shortWatchdog}, DumpTimeout: 2 * time.Second,
			})
			first := out.number(t, "pid")
			eventually(t, "a sign of life", func() bool { return s.Agents()[0].Says == "all well" })
			began := time.Now()
			if err := syscall.Kill(first, c.hang); err != nil {
				t.Fatal(err)
			}
			eventually(t, "another process", func() bool {
				a := s.Agents()[0]
				return a.State == Running && a.PID != first && a.Says == "all well"
			})
			t.Logf("a fresh process after %v", time.Since(began).Round(time.Millisecond))
			a := s.Agents()[0]
			if a.Hangs != 1 || a.Restarts != 1 || !strings.Contains(a.LastExit, "no sign of life for 400ms") || !strings.Contains(a.LastExit, "all well") {
				t.Errorf("got %+v, want 1 hang, 1 restart, and the reason with what it last said", a)
			}
			if alive(first) {
				t.Errorf("process %d is still there beside the fresh one", first)
			}
			if !strings.Contains(out.String(), "SIGQUIT: quit") || !strings.Contains(out.String(), "supervise.beat(") {
				t.Errorf("no stacks in the output:\n%s", out)
			}
			if strings.Count(said.String(), "gives no sign of life") != 1 {
				t.Error("the log does not tell the hang once")
			}
		})
	}
}

// That an agent hangs shows long before it is killed for that, and no more when
// it goes on.
func TestSilenceShows(t *testing.T) {
	for _, c := range []struct {
		name   string
		hang   syscall.Signal
		goesOn bool
	}{{"stopped", syscall.SIGSTOP, true}, {"deadlocked", syscall.SIGUSR1, false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out := &output{}
			s, stop := running(t, Options{Agents: []Spec{agentSpec("beating", "1")}, Output: out, Log: testLog(t), Settings: Settings{WatchdogTimeout: time.Minute}, StopTimeout: time.Millisecond})
			pid := out.number(t, "pid")
			eventually(t, "a sign of life", func() bool { return s.Agents()[0].Ready })
			began := time.Now()
			if err := syscall.Kill(pid, c.hang); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the silence to be reported", func() bool { return !s.Agents()[0].Silent.IsZero() })
			a := s.Agents()[0]
			t.Logf("reported after %v", time.Since(began).Round(time.Millisecond))
			if silent := time.Since(a.Silent); a.State != Running || a.PID != pid || a.Hangs != 0 || silent < silentAfter {
				t.Errorf("got %+v, want that it runs and was silent for %v or more, not %v", a, silentAfter, silent)
			}
			if c.goesOn {
				if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the end of the silence", func() bool { return s.Agents()[0].Silent.IsZero() })
			}
			stop()
			if a := s.Agents()[0]; !a.Silent.IsZero() {
				t.Errorf("stopped: got %+v, want that nobody waits for its sign of life", a)
			}
		})
	}
}

// It says what it is, but beats no more: something in it hangs.
func TestTalkIsNoSignOfLife(t *testing.T) {
	out := &output{}
	s, _ := running(t, Options{Agents: []Spec{agentSpec("talking")}, Output: out, Log: testLog(t), BackoffMin: time.Millisecond, Settings: Settings{WatchdogTimeout: shortWatchdog}})
	eventually(t, "the end of one that only talks", func() bool { return s.Agents()[0].Hangs > 0 })
}

func TestNothingIsKilledThatBeats(t *testing.T) {
	out := &output{}
	s, stop := running(t, Options{Agents: []Spec{agentSpec("beating", "1")}, Output: out, Log: testLog(t), Settings: Settings{WatchdogTimeout: shortWatchdog}})
	out.number(t, "pid")
	eventually(t, "many signs of life", func() bool { return strings.Count(out.String(), "beat\n") > 40 })
	if a := s.Agents()[0]; a.Hangs != 0 || a.Restarts != 0 {
		t.Errorf("got %+v, want no hang and no restart", a)
	}
	stop()
}

// Several may be silent together because we were: a supervisor that was stopped
// itself must not take that for their fault.
func TestALateLookProvesNothing(t *testing.T) {
	s := (&notifications{timeout: time.Hour}).newWatchdog()
	defer s.end()
	s.dead.due = time.Now()
	if !s.tooLong() {
		t.Error("a look in time: not too long")
	}
	s.dead.due = time.Now().Add(-time.Hour / 2)
	if s.tooLong() || time.Until(s.dead.due) < 59*time.Minute {
		t.Error("a look half an hour late: too long, want another chance")
	}
	s.dead.due = time.Now().Add(-time.Minute)
	if !s.tooLong() {
		t.Error("a look a minute late: not too long")
	}
	s.broken()
	if s.late.due = time.Now().Add(-time.Hour); s.strange() || time.Until(s.late.due) < silentAfter/2 {
		t.Error("a look an hour late: strange, want another chance")
	}
}

// A Go program that panics ends with code 2, as one does that refuses its
// configuration.
func TestCrashIsNoUsageError(t *testing.T) {
	for part, want := range map[string]string{"panic": "panic: all is lost", "fatal": "fatal error: sync: unlock of unlocked mutex"} {
		seen, got := endings(t, 1, Options{Agents: []Spec{agentSpec(part)}})
		if got.State != Backoff || seen[0] != 200*time.Millisecond || !strings.Contains(got.LastExit, want) {
			t.Errorf("%s: got %s, pause %v, reason %q; want backoff, 200ms, %q", part, got.State, seen[0], got.LastExit, want)
		}
	}
}

// recoveries runs an agent that fails until its command has run n times.
func recoveries(t *testing.T, n int, o Options) (Status, string) {
	t.Helper()
	log, said := journal(t)
	o.Log, o.BackoffMin, o.RestartBackoffMax = log, time.Millisecond, time.Millisecond
	s, stop := running(t, o)
	eventually(t, "the recovery command", func() bool { return s.Agents()[0].Recoveries >= n })
	got := s.Agents()[0]
	stop()
	return got, said.String()
}

func TestRecoveryCommand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ran")
	agent := agentSpec("exit", "3")
	agent.Source = "rtsp://10.0.0.5/…"
	got, log := recoveries(t, 2, Options{
		Agents: []Spec{agent}, Settings: Settings{RecoveryAfter: 3,
			RecoveryCommand: `echo "$FRAMEKEEPER_CAMERA $FRAMEKEEPER_SOURCE $FRAMEKEEPER_EXIT_CODE $FRAMEKEEPER_RESTARTS" >>` + file + `; echo done; echo "to the hub" >&2`},
	})
	text, err := os.ReadFile(file)
	if want := strings.Repeat("cam1 rtsp://10.0.0.5/… 3 3\n", 2); err != nil || !strings.HasPrefix(string(text), want) {
		t.Errorf("the command received %q, %v, want %q", text, err, want)
	}
	if got.LastRecovery != "exit status 0" || got.Restarts < 5 {
		t.Errorf("got %+v, want exit status 0 after 6 starts", got)
	}
	for _, want := range []string{`"output":"done"`, `"output":"to the hub"`, `"outcome":"exit status 0"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s", want)
		}
	}
}

func TestRecoveryCommandThatFails(t *testing.T) {
	const short, enough = 100 * time.Millisecond, time.Minute
	for _, c := range []struct {
		command, outcome string
		timeout          time.Duration
	}{
		{"exit 7", "exit status 7", enough},
		{"/no/such/program", "exit status 127", enough},
		{"sleep 100 & sleep 100", "cut off after 100ms", short},
		{"trap '' TERM; sleep 100 & wait; sleep 100", "cut off after 100ms", short},
		{"yes | head -n 10000; exit 1", "exit status 1", enough},
	} {
		got, log := recoveries(t, 1, Options{
			Agents: []Spec{agentSpec("exit", "3")}, RecoveryTimeout: c.timeout, Settings: Settings{RecoveryAfter: 1, RecoveryCommand: c.command},
		})
		if got.LastRecovery != c.outcome {
			t.Errorf("%s: got %q, want %q", c.command, got.LastRecovery, c.outcome)
		}
		if !strings.Contains(log, `"level":"error"`) || !strings.Contains(log, c.outcome) {
			t.Errorf("%s: the failure is not in the log", c.command)
		}
		if n := bytes.Count([]byte(log), []byte(`"output"`)); n > 2*recoveryLines {
			t.Errorf("%s: %d lines of output in the log, want at most %d a run", c.command, n, recoveryLines)
		}
	}
}

// What a command cannot cure does not run it: a wrong configuration, another
// agent, an agent that is stopped; and one frame starts the count anew.
func TestRecoveryCommandIsNotForOthers(t *testing.T) {
	for _, agent := range []Spec{
		agentSpec("exit", "2"), agentSpec("exit", "4"), agentSpec("exit", "1"), agentSpec("exit", "0"),
		agentSpec("frames", "3"), {Name: "cam1", Path: "/nowhere/cam-agent"},
	} {
		_, got := endings(t, 2, Options{Agents: []Spec{agent}, Settings: Settings{RecoveryAfter: 1, RecoveryCommand: "true"}})
		if got.Recoveries != 0 || got.Failures != 0 {
			t.Errorf("%v: got %d runs, %d failures, want none", agent.Args, got.Recoveries, got.Failures)
		}
	}
	for _, agent := range []Spec{agentSpec("exit", "3"), agentSpec("panic"), agentSpec("kill")} {
		_, got := endings(t, 4, Options{Agents: []Spec{agent}, Settings: Settings{RecoveryAfter: 2, RecoveryCommand: "true"}})
		if got.Recoveries < 1 {
			t.Errorf("%v: got %d runs of the command after 4 ends, want some", agent.Args, got.Recoveries)
		}
	}
	_, got := endings(t, 3, Options{Agents: []Spec{agentSpec("exit", "3")}, Settings: Settings{RecoveryAfter: 1}})
	if got.Recoveries != 0 || got.Failures != 3 {
		t.Errorf("without a command: got %+v, want 3 failures and no run", got)
	}
}

func TestRecoveryCommandsRunOneAtATime(t *testing.T) {
	dir := t.TempDir()
	var agents []Spec
	for i := range 3 {
		spec := agentSpec("exit", "3")
		spec.Name = fmt.Sprint("cam", i)
		agents = append(agents, spec)
	}
	log, _ := journal(t)
	s, stop := running(t, Options{
		Agents: agents, Log: log, BackoffMin: time.Millisecond, Settings: Settings{RestartBackoffMax: time.Millisecond, RecoveryAfter: 1,
			RecoveryCommand: fmt.Sprintf("mkdir %[1]s/busy || : >%[1]s/two; sleep 0.05; rmdir %[1]s/busy", dir)},
	})
	eventually(t, "a run for each camera", func() bool {
		for _, a := range s.Agents() {
			if a.Recoveries < 1 {
				return false
			}
		}
		return true
	})
	stop()
	if _, err := os.Stat(filepath.Join(dir, "two")); err == nil {
		t.Error("two commands ran at once")
	}
}

// The command may need a moment to switch on what it has switched off.
func TestStopWaitsForTheRecoveryCommand(t *testing.T) {
	for _, c := range []struct {
		command, outcome string
	}{
		{"echo off; sleep 0.3; echo on", "exit status 0"},
		{"echo off; sleep 100", "cut off: the controller is stopping"},
	} {
		log, said := journal(t)
		s, stop := running(t, Options{Agents: []Spec{agentSpec("exit", "3")}, Log: log, Settings: Settings{RecoveryAfter: 1, RecoveryCommand: c.command}})
		eventually(t, "the running command", func() bool { return strings.Contains(said.String(), `"off"`) })
		began := time.Now()
		stop()
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("%s: the end took %v, want less than 4s", c.command, took)
		}
		if got := s.Agents()[0]; got.LastRecovery != c.outcome || got.State != Stopped {
			t.Errorf("%s: got %q and %s, want %q and stopped", c.command, got.LastRecovery, got.State, c.outcome)
		}
	}
}
