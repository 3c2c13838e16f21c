package supervise

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindAgent(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if path, err := FindAgent(); err == nil || !strings.Contains(err.Error(), "scripts/build.sh") {
		t.Errorf("without any: got %q, %v, want an error that says how to build it", path, err)
	}
	want := filepath.Join(dir, "cam-agent")
	if err := os.WriteFile(want, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := FindAgent(); err != nil || got != want {
		t.Errorf("in PATH: got %q, %v, want %q", got, err, want)
	}
}
