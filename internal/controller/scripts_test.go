package controller

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// scripts are the real ones, beside the real controller and a feigned cam-agent.
type scripts struct {
	t      *testing.T
	root   string
	config string
}

func newScripts(t *testing.T, s setup) scripts {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the controller")
	}
	root := filepath.Join(s.dir, "root")
	if err := os.CopyFS(filepath.Join(root, "scripts"), os.DirFS("../../scripts")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(root, "bin"), "framekeeper/cmd/controller").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	if err := os.Rename(filepath.Join(s.dir, "cam-agent"), filepath.Join(root, "bin", "cam-agent")); err != nil {
		t.Fatal(err)
	}
	c := scripts{t: t, root: root, config: s.config}
	t.Cleanup(func() { _, _ = c.run("stop.sh") })
	return c
}

// run runs one of them, also in Cleanup.
func (c scripts) run(name string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "bash", filepath.Join(c.root, "scripts", name), c.config).CombinedOutput()
	return string(out), err
}

// A file that was edited and is wrong must not keep anybody from stopping what
// was started with it.
func TestScriptsWithWrongConfiguration(t *testing.T) {
	s := newSetup(t, "redis://127.0.0.1:1/0", "")
	c := newScripts(t, s)
	if out, err := c.run("start.sh"); err != nil {
		t.Fatalf("start.sh: %v\n%s", err, out)
	}
	if err := os.WriteFile(s.config, []byte("nonsense = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ script, want string }{
		{"start.sh", ""},
		{"status.sh", "was started with it before and goes on"},
		{"stop.sh", "controller stopped"},
		{"stop.sh", "no controller that was started with " + s.config + " is running"},
		{"status.sh", ""},
	} {
		out, err := c.run(step.script)
		if (err == nil) != (step.want == "controller stopped") || !strings.Contains(out, step.want) ||
			!strings.Contains(out, "nonsense: unknown key") || strings.Contains(out, "realpath") {
			t.Errorf("%s: got %v, want %q after what is wrong in the file:\n%s", step.script, err, step.want, out)
		}
	}
}

// TestScriptsWithoutState starts, looks at and stops a controller whose
// state_dir cannot be made, with the real scripts and programs.
func TestScriptsWithoutState(t *testing.T) {
	s := newSetup(t, "redis://127.0.0.1:1/0", "")
	c := newScripts(t, s)
	file := filepath.Join(s.dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.write(t, "redis://127.0.0.1:1/0", "./file/state", "") // below a file, not even root can make it
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())

	out, err := c.run("start.sh")
	if err != nil || !strings.Contains(out, "state_dir "+file+"/state cannot be written") {
		t.Fatalf("start.sh: got %v, want a start with a warning:\n%s", err, out)
	}
	m := regexp.MustCompile(`controller started, pid \d+, log (/\S+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("start.sh: got %q, want the log's absolute path", out)
	}
	eventually(t, "the agent's line in the log", func() bool {
		text, _ := os.ReadFile(m[1])
		return strings.Contains(string(text), "agent --config")
	})
	if out, err := c.run("start.sh"); err != nil || !strings.Contains(out, "running already") {
		t.Errorf("start.sh again: got %v and %q, want that it is running already", err, out)
	}
	if out, err := c.run("status.sh"); err == nil || !strings.Contains(out, "cam1: running") {
		t.Errorf("status.sh: got %v and %q, want a running agent that is not healthy", err, out)
	}
	if out, err := c.run("stop.sh"); err != nil || !strings.Contains(out, "controller stopped") {
		t.Errorf("stop.sh: got %v and %q, want it stopped", err, out)
	}
	if out, err := c.run("status.sh"); err == nil || !strings.Contains(out, ", nor with state_dir "+file+"/state") {
		t.Errorf("status.sh after the end: got %v and %q, want that there is none", err, out)
	}
}

// A state_dir that is deleted takes the lock with it. The controller goes on all
// the same: it is found, stopped, and not joined by a second one. Others with its
// configuration, or on the way to say something, are left alone.
func TestScriptsWithStateThatIsGone(t *testing.T) {
	s := newSetup(t, "redis://127.0.0.1:1/0", "")
	c := newScripts(t, s)
	run := func(name, want string, fails bool) string {
		t.Helper()
		out, err := c.run(name)
		if (err != nil) != fails || !strings.Contains(out, want) {
			t.Errorf("%s: got %v, want %q:\n%s", name, err, want, out)
		}
		return out
	}
	started := regexp.MustCompile(`pid (\d+)`).FindString(run("start.sh", "controller started", false))
	if err := os.RemoveAll(s.state); err != nil {
		t.Fatal(err)
	}
	run("start.sh", "running already, "+started, false)
	run("status.sh", "controller "+started, true)
	t.Run("of another state_dir", func(t *testing.T) {
		t.Setenv("FRAMEKEEPER_STATE_DIR", filepath.Join(s.dir, "other"))
		run("stop.sh", "no controller is running", false)
	})
	run("status.sh", "controller "+started, true)
	run("stop.sh", "controller stopped", false)
	asks := exec.CommandContext(t.Context(), filepath.Join(c.root, "bin", "controller"), "--config", s.config, "--status")
	deaf := listener(t, s.http) // so that it waits for an answer
	if err := asks.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := deaf.Accept(); err != nil {
		t.Fatal(err)
	}
	run("stop.sh", "no controller is running", false)
	run("status.sh", "no controller is running", true)
	_ = asks.Process.Kill()
	_ = asks.Wait()
}

// listener takes connections there and answers none.
func listener(t *testing.T, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// What somebody else puts into his state_dir, root neither follows, waits for, nor
// believes.
func TestScriptsAsRootInAnothersState(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("root's behaviour")
	}
	s := newSetup(t, "redis://127.0.0.1:1/0", "")
	c := newScripts(t, s)
	mine := filepath.Join(s.dir, "mine")
	if err := os.Mkdir(s.state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(mine, filepath.Join(s.state, "controller.log")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(s.state, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if out, err := c.run("start.sh"); err == nil || !strings.Contains(out, "belongs to nobody") {
		t.Errorf("start.sh: got %v, want a refusal:\n%s", err, out)
	}
	if _, err := os.Lstat(mine); err == nil {
		t.Error("start.sh followed the link")
	}
	lock := filepath.Join(s.state, "controller.lock")
	if err := unix.Mkfifo(lock, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := c.run("stop.sh"); err != nil || !strings.Contains(out, "no controller is running") {
		t.Errorf("stop.sh with a pipe for a lock: got %v, want that none is running:\n%s", err, out)
	}
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	c.namesAnothers(t, s, lock)
}

// namesAnothers has somebody's lock name root's controller.
func (c scripts) namesAnothers(t *testing.T, s setup, lock string) {
	t.Helper()
	program, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.dir, "controller") // which is all that makes it one
	if err := os.WriteFile(path, program, 0o700); err != nil {
		t.Fatal(err)
	}
	victim := exec.CommandContext(t.Context(), path, "600")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(lock, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = fmt.Fprintln(f, victim.Process.Pid)
	if err := errors.Join(err, f.Chown(65534, 65534), unix.Flock(int(f.Fd()), unix.LOCK_EX)); err != nil {
		t.Fatal(err)
	}
	if out, err := c.run("stop.sh"); err != nil || !strings.Contains(out, "no controller is running") {
		t.Errorf("stop.sh: got %v, want that none is running:\n%s", err, out)
	}
	_ = victim.Process.Kill()
	if err := victim.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("root's controller ended with %v", err)
	}
}
