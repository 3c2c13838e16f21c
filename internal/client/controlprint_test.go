package client

import (
	"testing"

	"framekeeper/internal/status"
)

// A driver's words are long enough once.
func TestTroubleIsToldOnce(t *testing.T) {
	const cause = "camera abandoned after 1 attempt to reopen it: no such camera"
	for _, c := range []struct {
		state         status.ProcessState
		trouble, last string
		want          string
	}{
		{status.ProcessCrashLoop, "capture is ended: " + cause, "the camera gave up (exit code 3): " + cause, "last end: the camera gave up (exit code 3): " + cause},
		{status.ProcessFailed, "its process is failed", "exit code 2", "its process is failed; last end: exit code 2"},
		{status.ProcessRunning, "capture is ended: " + cause, cause, "capture is ended: " + cause},
		{status.ProcessStopped, "stopped by command", "signal: killed", "stopped by command"},
		{status.ProcessBackoff, "", "signal: killed", "last end: signal: killed"},
	} {
		s := status.Camera{Process: status.Process{State: c.state, LastExit: c.last}, Trouble: c.trouble}
		if got := trouble(s); got != c.want {
			t.Errorf("%s: got %q, want %q", c.state, got, c.want)
		}
	}
}
