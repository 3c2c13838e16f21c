package controller

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"framekeeper/internal/testkit/proctest"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/redisconn"
)

func TestMain(m *testing.M) {
	redisconn.Quiet()
	// lumberjack never ends the goroutine that tidies up behind a log file.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun"))
}

// output collects what a program writes.
type output struct{ proctest.Output }

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited 20 s in vain for %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// setup is one box: a state directory, a configuration, and a stand-in for
// cam-agent in PATH that says its arguments and then waits to be stopped.
type setup struct {
	dir, config, state, http string
	started                  string // a file that is there once an agent was
}

func newSetup(t *testing.T, redisURL, more string) setup {
	t.Helper()
	dir := t.TempDir()
	s := setup{dir: dir, config: filepath.Join(dir, "config.toml"), state: filepath.Join(dir, "state"), http: redistest.FreeAddr(t)}
	s.started = filepath.Join(dir, "started")
	agent := "#!/bin/sh\n: >" + s.started + "\necho \"agent $*\" >&2\ntrap 'echo agent stopped; exit 0' TERM\nwhile :; do sleep 0.05; done\n"
	if err := os.WriteFile(filepath.Join(dir, "cam-agent"), []byte(agent), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	s.write(t, redisURL, s.state, more)
	return s
}

func (s setup) write(t *testing.T, redisURL, state, more string) {
	t.Helper()
	text := fmt.Sprintf(`state_dir = %q
[redis]
url = %q
%s
[controller]
box = "box1"
log_interval = "100ms"
http = %q
[[camera]]
name = "cam1"
source = "test:"
`, state, redisURL, more, s.http)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// begin runs the controller; end stops it and returns what run did.
func (s setup) begin(t *testing.T) (stderr *output, end func() error) {
	t.Helper()
	stderr = &output{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Program().Run(ctx, []string{"--config", s.config}, os.Stdout, stderr) }()
	end = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(20 * time.Second):
			t.Error("run did not return within 20 s")
			return nil
		}
	})
	t.Cleanup(func() {
		_ = end()
		if t.Failed() {
			t.Logf("the controller said:\n%s", stderr)
		}
	})
	return stderr, end
}

// ask runs the controller with more arguments, to its end.
func (s setup) ask(args ...string) (string, error) {
	var stdout output
	err := Program().Run(context.Background(), append([]string{"--config", s.config}, args...), &stdout, &stdout)
	return stdout.String(), err
}

func wantOneLine(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("got no error, want one with %q", parts)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %q, want one line with %q in it", err, part)
		}
	}
}
