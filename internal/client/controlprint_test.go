package client

import (
	"testing"

	"framekeeper/internal/control"
	"framekeeper/internal/supervise"
)

// A driver's words are long enough once.
func TestTroubleIsToldOnce(t *testing.T) {
	const cause = "camera given up after 1 attempt to reopen it: no such camera"
	for _, c := range []struct {
		state         supervise.State
		trouble, last string
		want          string
	}{
		{supervise.CrashLoop, "capture is ended: " + cause, "the camera gave up (exit code 3): " + cause, "last end: the camera gave up (exit code 3): " + cause},
		{supervise.Failed, "its process is failed", "exit code 2", "its process is failed; last end: exit code 2"},
		{supervise.Running, "capture is ended: " + cause, cause, "capture is ended: " + cause},
		{supervise.Stopped, "stopped by command", "signal: killed", "stopped by command"},
		{supervise.Backoff, "", "signal: killed", "last end: signal: killed"},
	} {
		s := control.CameraStatus{Status: supervise.Status{State: c.state, LastExit: c.last}, Trouble: c.trouble}
		if got := trouble(s); got != c.want {
			t.Errorf("%s: got %q, want %q", c.state, got, c.want)
		}
	}
}
