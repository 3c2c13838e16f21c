package sdnotify

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

// What a process starts must not be able to report in its name.
func TestTakeLeavesNothingForChildren(t *testing.T) {
	for name, value := range map[string]string{EnvSocket: "@here", EnvKey: "key", EnvWatchdog: "3000000", EnvPID: ""} {
		t.Setenv(name, value)
	}
	s, err := Take()
	if err != nil {
		t.Fatal(err)
	}
	if s == nil || s.address != "@here" || s.Watchdog() != 3*time.Second {
		t.Errorf("got %+v, want what the variables describe", s)
	}
	env, err := exec.CommandContext(t.Context(), "env").Output()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(env), "NOTIFY_") || strings.Contains(string(env), "WATCHDOG_") {
		t.Errorf("a child has\n%s", env)
	}
}
