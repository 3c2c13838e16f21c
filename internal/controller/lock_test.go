package controller

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Whoever can write state_dir must not have the controller, perhaps as root, empty
// another file in the place of its lock.
func TestLockFollowsNoLink(t *testing.T) {
	state, precious := t.TempDir(), filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(precious, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(precious, filepath.Join(state, lockName)); err != nil {
		t.Fatal(err)
	}
	lock, err := lockState(t.Context(), state)
	if err == nil {
		_ = lock.Close()
	}
	if err == nil || errors.Is(err, errNoState) || !strings.Contains(err.Error(), lockName) || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("got %v, want a refusal that names the link", err)
	}
	if text, err := os.ReadFile(precious); err != nil || string(text) != "precious" {
		t.Errorf("the file behind the link holds %q, %v", text, err)
	}
}

// A pipe there is refused at once: opening it for reading would wait for a writer.
func TestLockWaitsForNoPipe(t *testing.T) {
	state := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(state, lockName), 0o600); err != nil {
		t.Fatal(err)
	}
	lock, err := lockState(t.Context(), state)
	if err == nil {
		_ = lock.Close()
	}
	if err == nil || errors.Is(err, errNoState) || !strings.Contains(err.Error(), "pipe") {
		t.Errorf("got %v, want a refusal that names a pipe", err)
	}
}
