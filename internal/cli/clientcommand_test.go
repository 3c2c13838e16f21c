package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"framekeeper/internal/status"
)

func TestClientBeside(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "it's here")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "client"), []byte("#!/bin/sh\necho \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := clientBeside("/usr/lib/framekeeper/controller", "/etc/framekeeper/config.toml"); got != (status.Client{Program: "framekeeper-client"}) {
		t.Errorf("of the package: got %+v", got)
	}
	if got := clientBeside("/no/such/controller", "/etc/a.toml"); got != (status.Client{Program: "client", Options: "--config /etc/a.toml"}) {
		t.Errorf("without a client beside it: got %+v", got)
	}
	c := clientBeside(filepath.Join(dir, "controller"), "/etc/a b.toml")
	out, err := exec.CommandContext(t.Context(), "sh", "-c", c.Line("control", "status")).CombinedOutput()
	if err != nil || string(out) != "control status --config /etc/a b.toml\n" {
		t.Errorf("a shell makes of %q: %s, %v", c.Line("control", "status"), out, err)
	}
}
