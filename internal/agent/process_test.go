package agent

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
)

// agentProcess is the whole program as a process of its own.
type agentProcess struct {
	cmd *exec.Cmd
	log testkit.Log
}

// startProcess starts one for that source; options is one variable of its
// environment, or empty.
func startProcess(t *testing.T, redis *redistest.Server, source, options string) *agentProcess {
	t.Helper()
	config := writeConfig(t, redis.URL(), "", fmt.Sprintf("source = %q\nstall_timeout = \"1s\"\nmax_reopens = 2\n", source))
	a := &agentProcess{cmd: exec.Command(os.Args[0], "--config", config)}
	a.cmd.Env = append(os.Environ(), asAgent+"=1")
	if options != "" {
		a.cmd.Env = append(a.cmd.Env, options)
	}
	a.cmd.Stdout, a.cmd.Stderr = &a.log, &a.log
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.cmd.Process.Kill() }) // it has ended unless the test failed
	return a
}

// endsWith waits for the process to end by itself.
func (a *agentProcess) endsWith(t *testing.T, code int, says string) {
	t.Helper()
	began := time.Now()
	ended := make(chan struct{})
	go func() { defer close(ended); _ = a.cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(testkit.Patience):
		t.Fatalf("still running after %v:\n%s", testkit.Patience, &a.log)
	}
	got := a.cmd.ProcessState.ExitCode()
	t.Logf("ended after %v with code %d", time.Since(began).Round(time.Millisecond), got)
	if got != code || !strings.Contains(a.log.String(), says) {
		t.Errorf("exit code %d, want %d and %q in:\n%s", got, code, says, &a.log)
	}
}
