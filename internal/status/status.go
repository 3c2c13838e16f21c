// Package status is what the programs report of themselves, once: the schema of
// agent, camera, link and box; the judgement of it; the words for it; and the
// exit codes. Page, /readyz, controller --status, client status, control status,
// systemd's status line and metrics all use it.
//
// It composes the snapshots that the parts' own types give, and promises that a
// judgement depends on them and the time alone: it reads nothing, holds no state,
// and compares codes, never texts. What it says is for people, and bounded only
// where the snapshots are; whoever prints it to a terminal or a page escapes it.
// Every program part may use it; pkg does not.
package status

import (
	"strings"
)

// Health is how something is.
type Health string

// The four states of health. What is degraded works, but somebody should put
// something right; what is unknown cannot be judged because something else
// failed, or has only just been started.
const (
	Healthy  Health = "healthy"
	Degraded Health = "degraded"
	Failed   Health = "failed"
	Unknown  Health = "unknown"
)

// OK reports whether it works.
func (h Health) OK() bool { return h == Healthy || h == Degraded }

// Code is why something is not healthy.
type Code int

// The codes.
const (
	Absent         Code = iota + 1 // no agent has announced itself
	CaptureFailed                  // the camera gives no frames
	ConfigPartly                   // a reload was not wholly taken over
	ConfigRefused                  // a reload was refused
	ControllerLink                 // the reader's own link is down, so that nothing is known
	ControllerHang                 // a part of the controller does not go on
	DirUnwritable                  // a directory cannot be written
	LinkDown                       // the link is not LIVE
	NameShared                     // another controller has the box's name
	NoSocket                       // the agent's socket cannot be reached
	NoStatus                       // Redis has no status
	NoStatusYet                    // the same of a process that has just been started
	NotRead                        // the status was not read yet
	NotPermitted                   // Redis does not permit reading the status
	NotWritable                    // Redis does not take frames
	Orphaned                       // frames wait on disk for a camera that is not configured
	OtherProcess                   // the status is of another process
	OtherRedis                     // the agent works with another Redis than the box's own
	PartHangs                      // parts of the agent do not return
	ProcessEnded                   // the process has ended
	ProcessSilent                  // the process gives no sign of life
	StatusStale                    // the status does not change
	StoppedByUser                  // by command
	Unreadable                     // the status is not one
)

// words are what a code is called; %s is the reason's detail.
var words = map[Code]string{ //nolint:gochecknoglobals // a constant table
	Absent:         "absent",
	CaptureFailed:  "capture is %s",
	ConfigPartly:   "%s",
	ConfigRefused:  "%s",
	ControllerLink: "the link from here to Redis is %s",
	ControllerHang: "%s",
	DirUnwritable:  "%s: nothing can be stored there for an outage or a restart",
	LinkDown:       "its link to Redis is %s",
	NameShared:     "the name is shared with controller %s: neither executes commands that do not name an instance",
	NoSocket:       "the controller cannot reach its socket: %s",
	NoStatus:       "no status in Redis: the agent does not reach it, or hangs",
	NoStatusYet:    "no status in Redis yet",
	NotRead:        "its status has not been read yet",
	NotPermitted:   "Redis does not permit reading %s",
	NotWritable:    "Redis does not accept its frames: %s",
	Orphaned:       "%s on disk for it",
	OtherProcess:   "the status in Redis is of another process: %s has written none yet",
	OtherRedis:     "it is connected to a Redis that is not this box's own",
	PartHangs:      "parts of it do not return (is a disk hanging?): %s",
	ProcessEnded:   "%s",
	ProcessSilent:  "no sign of life for %s: it hangs, or was stopped",
	StatusStale:    "no new status for %s: the agent hangs, or has ended",
	StoppedByUser:  "stopped by command",
	Unreadable:     "its status cannot be read",
}

// Reason is why something is not healthy.
type Reason struct {
	Code   Code
	Detail string
}

func (r Reason) String() string {
	text := strings.Replace(words[r.Code], "%s", r.Detail, 1)
	return strings.TrimSuffix(text, ": ")
}

// Judgement is how one thing is, why, and what to do about it.
type Judgement struct {
	Health  Health
	Summary string   // in a few words that follow the thing's name: "gives no frames"
	Reasons []Reason // the one nearest to the cause first; there may be none
	Advice  string   // what somebody can do; "" if nothing
	Command string   // that does it, "" if none
	Notes   []string // what else there is to know
}

// Why is all reasons on one line.
func (j Judgement) Why() string {
	all := make([]string, len(j.Reasons))
	for i, r := range j.Reasons {
		all[i] = r.String()
	}
	return strings.Join(all, "; ")
}

// ToDo is the advice with its command.
func (j Judgement) ToDo() string { return j.Advice + colon(j.Command) }

// Item is a judgement of something that has a name.
type Item struct {
	ID   string // differs between the items of a report
	Name string
	Judgement
}

// Line is the whole item in one: "cam1 gives no frames: capture is stalled".
func (i Item) Line() string { return i.Name + " " + i.Summary + colon(i.Why()) }

// colon is ": " and s, or nothing for nothing.
func colon(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}

// Exit codes of the three programs. Only cam-agent ends with ExitCamera and
// ExitClaimed; the controller decides by them how to start the next process.
const (
	ExitOK      = 0
	ExitError   = 1
	ExitUsage   = 2 // the command line or the configuration is wrong: starting again does not help; also Go's own for a crash
	ExitCamera  = 3 // the camera was given up or hangs: a fresh process may help
	ExitClaimed = 4 // another cam-agent serves the camera
)

// ExitNoLoader is the dynamic loader's exit code when a library is missing.
const ExitNoLoader = 127
