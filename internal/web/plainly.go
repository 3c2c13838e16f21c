package web

import (
	"strings"
	"time"

	"framekeeper/internal/status"
	"framekeeper/internal/text"
)

// Plainly is what an agent in that state does, for people who do not know our
// names of states. It goes on where "its agent" ends.
func Plainly(s status.ProcessState) string {
	switch s {
	case status.ProcessStarting:
		return "is being started"
	case status.ProcessRunning:
		return "is running"
	case status.ProcessBackoff:
		return "has ended and is started again"
	case status.ProcessCrashLoop:
		return "keeps ending, it is tried ever more rarely"
	case status.ProcessHanging:
		return "gives no sign of life and is being replaced"
	case status.ProcessRecovery:
		return "has ended, recovery_command is running"
	case status.ProcessFailed:
		return "cannot run until somebody corrects something"
	case status.ProcessStopping:
		return "is being stopped"
	case status.ProcessStopped:
		return "is stopped"
	default:
		return "is " + string(s)
	}
}

// Wait says how long it is until an agent's next start, "" if none is due.
func Wait(a status.Process, now time.Time) string {
	switch wait := a.NextStart.Sub(now).Round(time.Second); {
	case a.NextStart.IsZero():
		return ""
	case wait <= 0:
		return "about to start it again"
	default:
		return "waiting to start it again in " + text.Lasting(wait)
	}
}

// Reason is why a camera is not well, by what is nearest to the cause: what an
// agent ended with says more than that there is no status of it.
func Reason(a status.Process, c Camera) string {
	quiet := c.Link == "" && a.Failures > 0 // one of many short lives, which has not said anything yet
	if a.LastExit != "" && a.State != status.ProcessStopped && (a.State != status.ProcessRunning || quiet) {
		return a.LastExit
	}
	return c.Trouble
}

// LastEnd is what an agent last ended with, "" if the reason why its camera is
// not well tells the same.
func LastEnd(a status.Process, reason string) string {
	if a.LastExit == "" || strings.Contains(reason, a.LastExit) || reason != "" && a.Failures > 0 {
		return ""
	}
	return "last end: " + a.LastExit
}

// PlainRedis is what the box's own redis-server does.
func PlainRedis(s status.ProcessState) string {
	switch s {
	case status.ProcessStarting:
		return "is being started"
	case status.ProcessRunning:
		return "is running"
	case status.ProcessHanging:
		return "does not answer and is being replaced"
	case status.ProcessWaiting:
		return "does not run, it is tried again and again"
	case status.ProcessStopped:
		return "is stopped"
	default:
		return "is " + string(s)
	}
}
