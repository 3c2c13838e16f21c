package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestScriptsWithoutState starts, looks at and stops a controller whose
// state_dir cannot be made, with the real scripts and programs.
func TestScriptsWithoutState(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the controller")
	}
	s := newSetup(t, "redis://127.0.0.1:1/0", "")
	root := filepath.Join(s.dir, "root")
	if err := os.CopyFS(filepath.Join(root, "scripts"), os.DirFS("../../scripts")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(root, "bin"), ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	if err := os.Rename(filepath.Join(s.dir, "cam-agent"), filepath.Join(root, "bin", "cam-agent")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.write(t, "redis://127.0.0.1:1/0", "./file/state", "") // below a file, not even root can make it
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	script := func(name string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "bash", filepath.Join(root, "scripts", name), s.config).CombinedOutput()
		return string(out), err
	}
	t.Cleanup(func() { _, _ = script("stop.sh") })

	out, err := script("start.sh")
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
	if out, err := script("start.sh"); err != nil || !strings.Contains(out, "running already") {
		t.Errorf("start.sh again: got %v and %q, want that it is running already", err, out)
	}
	if out, err := script("status.sh"); err == nil || !strings.Contains(out, "cam1: running") {
		t.Errorf("status.sh: got %v and %q, want a running agent that is not well", err, out)
	}
	if out, err := script("stop.sh"); err != nil || !strings.Contains(out, "controller stopped") {
		t.Errorf("stop.sh: got %v and %q, want it stopped", err, out)
	}
	if out, err := script("status.sh"); err == nil || !strings.Contains(out, "no controller is running with state_dir "+file+"/state") {
		t.Errorf("status.sh after the end: got %v and %q, want that there is none", err, out)
	}
}
