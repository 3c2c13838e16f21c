package web

import (
	"strings"
	"time"

	"framekeeper/internal/redisserver"
	"framekeeper/internal/supervise"
	"framekeeper/internal/text"
)

// Plainly is what an agent in that state does, for people who do not know our
// names of states. It goes on where "its agent" ends.
func Plainly(s supervise.State) string {
	switch s {
	case supervise.Starting:
		return "is being started"
	case supervise.Running:
		return "is running"
	case supervise.Backoff:
		return "has ended and is started again"
	case supervise.CrashLoop:
		return "keeps ending, it is tried ever more rarely"
	case supervise.Hanging:
		return "gives no sign of life and is being replaced"
	case supervise.Recovery:
		return "has ended, recovery_command is running"
	case supervise.Failed:
		return "cannot run until somebody corrects something"
	case supervise.Stopping:
		return "is being stopped"
	case supervise.Stopped:
		return "is stopped"
	default:
		return "is " + string(s)
	}
}

// Wait says how long it is until an agent's next start, "" if none is due.
func Wait(a supervise.Status, now time.Time) string {
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
func Reason(a supervise.Status, c Camera) string {
	quiet := c.Link == "" && a.Failures > 0 // one of many short lives, which has not said anything yet
	if a.LastExit != "" && a.State != supervise.Stopped && (a.State != supervise.Running || quiet) {
		return a.LastExit
	}
	return c.Trouble
}

// LastEnd is what an agent last ended with, "" if the reason why its camera is
// not well tells the same.
func LastEnd(a supervise.Status, reason string) string {
	if a.LastExit == "" || strings.Contains(reason, a.LastExit) || reason != "" && a.Failures > 0 {
		return ""
	}
	return "last end: " + a.LastExit
}

// PlainRedis is what the box's own redis-server does.
func PlainRedis(s redisserver.State) string {
	switch s {
	case redisserver.Starting:
		return "is being started"
	case redisserver.Running:
		return "is running"
	case redisserver.Hanging:
		return "does not answer and is being replaced"
	case redisserver.Waiting:
		return "does not run, it is tried again and again"
	case redisserver.Stopped:
		return "is stopped"
	default:
		return "is " + string(s)
	}
}
