package status

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"framekeeper/internal/text"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
)

// Observation is what was read of a camera's status in Redis.
type Observation struct {
	Agent   *Agent        // nil: no status could be read
	Missing Reason        // why not
	Stale   time.Duration // how long Agent has been the same, if longer than it may be
}

// Observe reads a status.
func Observe(text []byte) Observation {
	a, err := ParseAgent(text)
	if err != nil {
		return Observation{Missing: Reason{Code: Unreadable}}
	}
	return Observation{Agent: &a}
}

// OK reports whether the status shows a camera that works.
func (o *Observation) OK() bool {
	return o.Agent != nil && o.Stale == 0 && len(o.Agent.Reasons()) == 0
}

// Reasons are why an agent does not do its work, the nearest to the cause first;
// none if it does.
func (a *Agent) Reasons() (all []Reason) {
	if a.Link.State != datatransfer.Live.String() {
		all = append(all, Reason{LinkDown, cmp.Or(a.Link.State, string(Unknown))})
	}
	if len(a.Link.Stuck) > 0 {
		all = append(all, Reason{PartHangs, strings.Join(a.Link.Stuck, ", ")})
	}
	if a.Capture.State != camera.StateOK {
		all = append(all, Reason{CaptureFailed, cmp.Or(string(a.Capture.State), string(Unknown)) + colon(a.Capture.Reason)})
	}
	if !a.Writable {
		all = append(all, Reason{NotWritable, a.Reason})
	}
	return all
}

// newsTime is how long something that works again shows how its process before ended.
const newsTime = time.Hour

// Evidence is all that is known of a camera.
type Evidence struct {
	Process    *Process // nil: it is another box's, and its processes cannot be seen
	Seen       Observation
	Own        *Agent // what the agent itself has just reported, without Redis; nil: nothing
	Blind      bool   // the reader's own link is down: what was seen does not count
	OtherRedis bool   // it was seen in a Redis that is not the box's own
	Box        string // for commands
	Client     Client
}

// startTime is more than an agent takes until its first status is in Redis.
const startTime = 5 * time.Second

const (
	checkCamera = "check the camera: is it plugged in, does it have power? It is tried again automatically; nothing has to be restarted"
	byItself    = "it is tried again automatically; nothing has to be restarted"
	ifItStays   = "if it stays so"
)

// Judge is how the camera is at that time. What is in Redis counts only if it is
// of the process that runs, and that gives signs of life.
func (e *Evidence) Judge(now time.Time) Judgement {
	j := e.judge(now)
	if e.Process != nil {
		j.Notes = append(j.Notes, e.Process.Notes(j.Health.OK(), now)...)
	}
	return j
}

func (e *Evidence) judge(now time.Time) Judgement {
	p := e.Process
	switch {
	case p != nil && p.State == ProcessStopped:
		return Judgement{Health: Failed, Summary: p.State.Summary(), Reasons: []Reason{{Code: StoppedByUser}},
			Advice: "to start it again", Command: e.command("start")}
	case p != nil && p.State != ProcessRunning:
		return ended(p)
	case p != nil && !p.Silent.IsZero():
		return e.mute(Reason{ProcessSilent, now.Sub(p.Silent).Round(time.Second).String()})
	case e.Blind && e.Own != nil:
		return e.offline()
	case e.Blind:
		j := Judgement{Health: Unknown, Summary: "has an unknown state", Reasons: []Reason{{ControllerLink, "down"}}}
		if p != nil && p.Says != "" {
			j.Notes = []string{"its agent is running and reports: " + p.Says}
		}
		return j
	case e.Seen.Agent == nil:
		return e.missing(now)
	default:
		return e.reported(now)
	}
}

// offline judges by what the agent itself reports while Redis is away: that it has no
// link either is not the camera's fault.
func (e *Evidence) offline() Judgement {
	reasons := e.Own.Reasons()
	if len(reasons) == 0 {
		return Judgement{Health: Healthy, Summary: "is healthy"}
	}
	for _, r := range reasons {
		if r.Code == CaptureFailed || r.Code == PartHangs {
			return troubled([]Reason{r}, e.Own)
		}
	}
	j := Judgement{Health: Unknown, Summary: "captures, and waits for Redis", Reasons: reasons[:1]}
	if n := e.Own.Outbox.Unsent; n > 0 {
		s := cmp.Or(e.Own.Spool, &Spool{})
		j.Notes = []string{Waiting("to be sent", n, s.Frames, s.Bytes)}
	}
	return j
}

// ended judges by a process that does not run.
func ended(p *Process) Judgement {
	j := Judgement{Health: Failed, Summary: p.State.Summary()}
	if p.LastExit != "" {
		j.Reasons = []Reason{{ProcessEnded, p.LastExit}}
	}
	switch {
	case p.State == ProcessStarting:
		j.Health = Unknown
	case p.State == ProcessFailed:
		j.Advice = "correct that; it is then tried again automatically"
	case p.Failures > 0 && p.State != ProcessHanging:
		j.Advice = checkCamera
	}
	return j
}

// missing judges without a status. What the process before ended with is nearer
// to the cause than that there is none.
func (e *Evidence) missing(now time.Time) Judgement {
	p, why := e.Process, e.Seen.Missing
	switch {
	case why.Code == Absent:
		return Judgement{Health: Failed, Summary: "is absent", Reasons: []Reason{why}}
	case p != nil && p.Failures > 0: // one of many short lives, which has not reported yet
		if p.LastExit != "" {
			why = Reason{ProcessEnded, p.LastExit}
		}
		return Judgement{Health: Failed, Summary: "gives no frames", Reasons: []Reason{why}, Advice: checkCamera, Notes: []string{"it is being tried again now"}}
	case why.Code == NoStatus && p.young(now):
		return Judgement{Health: Unknown, Summary: "is starting", Reasons: []Reason{{Code: NoStatusYet}}}
	case p != nil && !p.Ready:
		return Judgement{Health: Unknown, Summary: "is starting", Reasons: []Reason{why}}
	default:
		return e.mute(why)
	}
}

// reported judges by a status.
func (e *Evidence) reported(now time.Time) Judgement {
	p, a := e.Process, e.Seen.Agent
	reasons := a.Reasons()
	switch {
	case e.Seen.Stale > 0:
		return e.mute(Reason{StatusStale, e.Seen.Stale.Round(time.Second).String()})
	case len(reasons) > 0:
		return troubled(reasons, a)
	case p != nil && p.PID != 0 && a.PID != 0 && p.PID != a.PID:
		why := Reason{OtherProcess, fmt.Sprintf("process %d", p.PID)}
		if p.young(now) {
			return Judgement{Health: Unknown, Summary: "is starting", Reasons: []Reason{why}}
		}
		return e.mute(why)
	case e.OtherRedis:
		return Judgement{Health: Unknown, Summary: "works, but not with the Redis of this box", Reasons: []Reason{{Code: OtherRedis}}}
	case a.NoSocket != "":
		return Judgement{Health: Degraded, Summary: "works, but without metrics and settings", Reasons: []Reason{{NoSocket, a.NoSocket}}}
	}
	return Judgement{Health: Healthy, Summary: "is healthy"}
}

// troubled judges by what the agent itself reports.
func troubled(reasons []Reason, a *Agent) Judgement {
	j := Judgement{Health: Failed, Reasons: reasons}
	switch reasons[0].Code {
	case LinkDown:
		j.Summary, j.Advice = "has no connection to Redis", byItself
	case PartHangs:
		j.Summary, j.Advice = "hangs in parts", "check the disk, or restart the box"
	case CaptureFailed:
		j.Summary, j.Advice = "gives no frames", checkCamera
		if a.Capture.State == camera.StateOpening {
			j.Summary, j.Advice = "is being opened", ""
		}
	default:
		j.Summary = "cannot deliver: Redis accepts no frames"
	}
	return j
}

// mute is of an agent that runs and does not report.
func (e *Evidence) mute(why Reason) Judgement {
	j := Judgement{Health: Failed, Summary: "does not report", Reasons: []Reason{why}}
	if e.Process != nil {
		j.Advice, j.Command = ifItStays, e.command("restart")
	}
	return j
}

// command is what an operator types.
func (e *Evidence) command(what string) string {
	return e.Client.Line("control", "--box", e.Box, what, e.Process.Name)
}

// Client is how an operator calls the client.
type Client struct {
	Program string // as a shell takes it; "": client
	Options string // what it needs beside the command
}

// Line is a command for a shell.
func (c Client) Line(words ...string) string {
	line := cmp.Or(c.Program, "client") + " " + strings.Join(words, " ")
	if c.Options != "" {
		line += " " + c.Options
	}
	return line
}

// young reports whether the process can hardly have reported yet.
func (p *Process) young(now time.Time) bool {
	return p != nil && p.State == ProcessRunning && p.Failures == 0 && now.Sub(p.Since) < startTime
}

// Notes are what else there is to know of an agent's process.
func (p *Process) Notes(ok bool, now time.Time) (all []string) {
	if !p.NextStart.IsZero() {
		wait := "about to start it again"
		if left := p.NextStart.Sub(now).Round(time.Second); left > 0 {
			wait = "waiting to start it again in " + text.Lasting(left)
		}
		all = append(all, wait)
	}
	reason := p.State != ProcessRunning && p.State != ProcessStopped || !ok && p.Failures > 0 // it is why the camera failed
	if old := ok && now.Sub(p.Since) >= newsTime; p.LastExit != "" && !reason && !old {
		all = append(all, "last end: "+p.LastExit)
	}
	if p.Recoveries > 0 {
		all = append(all, fmt.Sprintf("recovery_command was run %s, the last time: %s", text.Count(p.Recoveries, "time"), p.LastRecovery))
	}
	return all
}

// Summary is what a process in that state does, in words that follow its name.
func (s ProcessState) Summary() string {
	switch s {
	case ProcessStarting:
		return "is being started"
	case ProcessRunning:
		return "is running"
	case ProcessBackoff:
		return "has ended and is started again"
	case ProcessCrashLoop:
		return "is in a crash loop and is restarted slowly"
	case ProcessHanging:
		return "gives no sign of life and is being restarted"
	case ProcessRecovery:
		return "has ended, recovery_command is running"
	case ProcessFailed:
		return "cannot run until the cause is corrected"
	case ProcessWaiting:
		return "does not run; its start is tried again"
	case ProcessStopping:
		return "is being stopped"
	case ProcessStopped:
		return "is stopped"
	default:
		return "is " + string(s)
	}
}
