package controller

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"framekeeper/internal/cli"
)

// What a controller would refuse is reported without one, all of it, and nothing is
// started or written.
func TestCheck(t *testing.T) {
	s := newSetup(t, "redis://127.0.0.1:1/0", "")
	if text, err := s.ask("--check"); err != nil || text != s.config+": OK, box box1, 1 camera\n" {
		t.Errorf("got %q, %v", text, err)
	}
	var usage *cli.UsageError
	refused := func(parts ...string) {
		t.Helper()
		text, err := s.ask("--check")
		if !errors.As(err, &usage) || text != "" {
			t.Fatalf("got %q, %v, want a usage error and no other word", text, err)
		}
		for _, part := range parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("got %q, want %q in it", err, part)
			}
		}
	}
	s.adjust(t, "log_interval", "http_user = \"op\"\nhttp_password_file = \"/nowhere/password\"\nlog_interval")
	refused("/nowhere/password")
	s.adjust(t, "log_interval", "nonsense = 1\nlog_interval")
	s.adjust(t, `source = "test:"`, "source = \"test:\"\nwidth = 1")
	refused("controller.nonsense", "camera.cam1.width")
	s.write(t, "redis://127.0.0.1:1/0", s.state, "embedded = true")
	t.Setenv("PATH", "/nowhere")
	refused("cam-agent", "redis-server, which is not installed")
	for _, left := range []string{s.started, s.state} {
		if _, err := os.Stat(left); err == nil {
			t.Errorf("the check has made %s", left)
		}
	}
}

// A check looks at the file while its controller runs, and does not disturb it.
func TestCheckBesideAController(t *testing.T) {
	s := newSetup(t, "redis://127.0.0.1:1/0", "")
	stderr, _ := s.begin(t)
	eventually(t, "the controller", func() bool { code, _ := s.visit(t, "/healthz"); return code != 0 })
	if text, err := s.ask("--check"); err != nil || !strings.Contains(text, ": OK") {
		t.Errorf("got %q, %v", text, err)
	}
	if code, _ := s.visit(t, "/healthz"); code != http.StatusOK || strings.Contains(stderr.String(), "stopped") {
		t.Errorf("after the check the controller answers %d", code)
	}
}
