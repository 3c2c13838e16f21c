package supervise

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func named(name string, s Spec) Spec { s.Name = name; return s }

func TestCommands(t *testing.T) {
	out := &output{}
	s, _ := running(t, Options{
		Agents: []Spec{agentSpec("talking"), named("cam2", agentSpec("obedient"))}, Output: out, Log: testLog(t), SettleTime: 2 * time.Second,
	})
	eventually(t, "a ready agent", func() bool { return s.Agents()[0].Ready })
	first := s.Agents()[0]
	other := out.number(t, "pid")

	got, err := s.Restart(within(t), "cam1")
	if err != nil || got.PID == first.PID || got.State != Running || !got.Ready || got.Restarts != 1 {
		t.Errorf("restart: got %+v, %v, want a new process that is ready", got, err)
	}
	if alive(first.PID) {
		t.Error("the first process is still there")
	}
	again, err := s.Start(within(t), "cam1")
	if err != nil || again.PID != got.PID {
		t.Errorf("start of one that runs: got %+v, %v, want it left alone", again, err)
	}
	for range 2 { // the second finds nothing to do
		stopped, err := s.Stop(within(t), "cam1")
		if err != nil || stopped.State != Stopped || stopped.PID != 0 || alive(got.PID) {
			t.Errorf("stop: got %+v, %v, want no process", stopped, err)
		}
	}
	started, err := s.Start(within(t), "cam1")
	if err != nil || started.State != Running || !started.Ready {
		t.Errorf("start: got %+v, %v, want a process", started, err)
	}
	if _, err := s.Stop(within(t), "cam1"); err != nil {
		t.Error(err)
	}
	if restarted, err := s.Restart(within(t), "cam1"); err != nil || restarted.State != Running {
		t.Errorf("restart of a stopped one: got %+v, %v, want a process", restarted, err)
	}
	// One that never says that it is ready counts as running after a while.
	if got, err := s.Restart(within(t), "cam2"); err != nil || got.PID == other || got.Ready {
		t.Errorf("restart of a silent one: got %+v, %v, want a new process", got, err)
	}
	for _, a := range s.Agents() {
		if a.Restarts == 0 || a.Ends != 0 {
			t.Errorf("%s: got %d restarts and %d unexpected ends, want some and none", a.Name, a.Restarts, a.Ends)
		}
	}
	_, err = s.Restart(within(t), "cam3")
	if err == nil || err.Error() != `no camera "cam3"; there is cam1, cam2` {
		t.Errorf("got %v, want what cameras there are", err)
	}
}

func TestRestartTellsTheFailure(t *testing.T) {
	s, stop := running(t, Options{Agents: []Spec{agentSpec("exit", "2")}, Log: testLog(t)})
	eventually(t, "a failed agent", func() bool { return s.Agents()[0].State == Failed })
	for name, command := range map[string]func(context.Context, string) (Status, error){"restart": s.Restart, "start": s.Start} {
		if _, err := command(within(t), "cam1"); err == nil || !strings.Contains(err.Error(), "exit code 2") {
			t.Errorf("%s: got %v, want the reason of its end, at once", name, err)
		}
	}
	if got, err := s.Stop(within(t), "cam1"); err != nil || got.State != Stopped {
		t.Errorf("stop: got %+v, %v", got, err)
	}
	stop()
	if _, err := s.Start(within(t), "cam1"); !errors.Is(err, ErrEnding) {
		t.Errorf("after the end: got %v, want ErrEnding", err)
	}
}

// A reload may come while a command waits for its process, which then has to make
// way: that is no failure of it.
func TestRestartIsOvertaken(t *testing.T) {
	s, _ := running(t, Options{Agents: []Spec{agentSpec("obedient")}, Log: testLog(t), SettleTime: 3 * time.Second})
	eventually(t, "an agent", func() bool { return s.Agents()[0].State == Running })
	type result struct {
		Status
		error
	}
	restarted := make(chan result, 1)
	go func() {
		got, err := s.Restart(within(t), "cam1")
		restarted <- result{got, err}
	}()
	eventually(t, "its successor", func() bool { return s.Agents()[0].Restarts == 1 && s.Agents()[0].State == Running })
	changed := agentSpec("obedient")
	changed.Settings = "other"
	if _, err := s.Update(within(t), Options{Agents: []Spec{changed}, Log: testLog(t), SettleTime: 3 * time.Second}); err != nil {
		t.Errorf("update: %v", err)
	}
	if got := <-restarted; got.error != nil || got.PID != s.Agents()[0].PID || got.Restarts != 2 || got.Ends != 0 {
		t.Errorf("restart: got %+v, want the last process of %+v, and that none ended unexpectedly", got, s.Agents())
	}
}

func TestRestartOfACameraThatGoes(t *testing.T) {
	s, _ := running(t, Options{Agents: []Spec{agentSpec("obedient")}, Log: testLog(t), SettleTime: time.Minute})
	eventually(t, "an agent", func() bool { return s.Agents()[0].State == Running })
	restarted := make(chan error, 1)
	go func() {
		_, err := s.Restart(within(t), "cam1")
		restarted <- err
	}()
	eventually(t, "its successor", func() bool { return s.Agents()[0].Restarts == 1 && s.Agents()[0].State == Running })
	if _, err := s.Update(within(t), Options{Log: testLog(t)}); err != nil {
		t.Errorf("update: %v", err)
	}
	if err := <-restarted; err == nil || !strings.Contains(err.Error(), "taken out of the configuration") {
		t.Errorf("got %v, want that the camera is gone", err)
	}
}

func TestCommandGivesUpInTime(t *testing.T) {
	out := &output{}
	s, _ := running(t, Options{Agents: []Spec{agentSpec("stubborn")}, Output: out, Log: testLog(t), StopTimeout: time.Second})
	out.number(t, "grandchild")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := s.Stop(ctx, "cam1")
	if err == nil || !strings.Contains(err.Error(), "stops when that is over") {
		t.Errorf("got %v, want that it goes on stopping", err)
	}
	eventually(t, "the stop all the same", func() bool { return s.Agents()[0].State == Stopped })
}

func TestUpdate(t *testing.T) {
	out := &output{}
	agents := []Spec{agentSpec("talking"), named("cam2", agentSpec("talking")), named("cam3", agentSpec("talking")), named("cam5", agentSpec("talking"))}
	s, _ := running(t, Options{Agents: agents, Output: out, Log: testLog(t)})
	eventually(t, "ready agents", func() bool {
		return !slices.ContainsFunc(s.Agents(), func(a Status) bool { return !a.Ready })
	})
	if _, err := s.Stop(within(t), "cam5"); err != nil {
		t.Fatal(err)
	}
	before := s.Agents()
	changed, stopped := agents[1], agents[3]
	changed.Settings, stopped.Settings = "new", "new"
	next := []Spec{changed, agents[0], named("cam4", agentSpec("talking")), stopped}
	got, err := s.Update(within(t), Options{Agents: next, Log: testLog(t), Settings: Settings{RecoveryCommand: "true", RecoveryAfter: 1}})
	if err != nil || !slices.Equal(got.Started, []string{"cam4"}) || !slices.Equal(got.Restarted, []string{"cam2"}) ||
		!slices.Equal(got.Stopped, []string{"cam3"}) || !slices.Equal(got.Kept, []string{"cam1", "cam5"}) {
		t.Errorf("got %+v, %v", got, err)
	}
	after := s.Agents()
	if len(after) != 4 || after[0].PID == before[1].PID || after[1].PID != before[0].PID || !after[2].Ready || after[3].State != Stopped {
		t.Errorf("got %+v, want cam2 anew, cam1 as it was, cam4, and cam5 stopped as before", after)
	}
	if alive(before[2].PID) {
		t.Error("cam3's process is still there")
	}
	// The kept one's options are the new ones.
	if err := syscall.Kill(after[1].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the recovery command", func() bool { return s.Agents()[1].Recoveries == 1 })

	// Taken out and put in again, and one that does not run.
	if _, err := s.Update(within(t), Options{Agents: next[:1], Log: testLog(t)}); err != nil {
		t.Error(err)
	}
	broken := named("cam6", agentSpec("exit", "2"))
	got, err = s.Update(within(t), Options{Agents: append(next, broken), Log: testLog(t)})
	if err == nil || !strings.Contains(err.Error(), "camera cam6: the new cam-agent has ended") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want only that cam6 does not run", err)
	}
	if len(got.Started) != 4 || len(s.Agents()) != 5 || s.Agents()[1].State != Running {
		t.Errorf("got %+v, %+v, want four more agents", got, s.Agents())
	}
}

// A process reads what the controller has accepted.
func TestHandsOverConfig(t *testing.T) {
	out := &output{}
	spec := Spec{Name: "cam1", Path: "/bin/sh", Args: []string{"-c", `cat <&"$` + ConfigVariable + `"; echo; exec sleep 100`}, Config: []byte("accepted = true")}
	s, _ := running(t, Options{Agents: []Spec{spec}, Output: out, Log: testLog(t), SettleTime: 10 * time.Millisecond})
	eventually(t, "its text", func() bool { return strings.Contains(out.String(), "accepted = true\n") })
	spec.Config = []byte("accepted = 2")
	pid := s.Agents()[0].PID
	if got, err := s.Update(within(t), Options{Agents: []Spec{spec}, Log: testLog(t)}); err != nil || len(got.Kept) != 1 || s.Agents()[0].PID != pid {
		t.Errorf("got %+v, %v, want the process kept", got, err)
	}
	if _, err := s.Restart(within(t), "cam1"); err != nil {
		t.Error(err)
	}
	eventually(t, "the new text", func() bool { return strings.Contains(out.String(), "accepted = 2\n") })
}

// A camera that is taken out and put in again while its first process does not
// end has never two.
func TestNeverTwoOfOneCamera(t *testing.T) {
	out := &output{}
	stubborn := agentSpec("stubborn")
	s, _ := running(t, Options{Agents: []Spec{stubborn}, Output: out, Log: testLog(t), StopTimeout: time.Second, SettleTime: 10 * time.Millisecond})
	out.number(t, "grandchild")
	first := s.Agents()[0].PID
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := s.Update(ctx, Options{Log: testLog(t)})
	if err == nil || !strings.Contains(err.Error(), "camera cam1: not stopped within the time given") || len(s.Agents()) != 0 {
		t.Errorf("got %v and %+v, want that it still stops", err, s.Agents())
	}
	_, err = s.Update(within(t), Options{Agents: []Spec{agentSpec("talking")}, Log: testLog(t), SettleTime: time.Second})
	if now := s.Agents(); err != nil || len(now) != 1 || now[0].State != Running || now[0].PID == first || alive(first) {
		t.Errorf("got %v and %+v, want a new process after the end of the first", err, now)
	}
}
