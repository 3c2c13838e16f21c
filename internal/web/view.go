package web

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"framekeeper/internal/status"
	"framekeeper/internal/text"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
)

// view is the page as its template wants it.
type view struct {
	Box, Version string
	Print        string // of page.css and page.js
	Time         string
	OK           bool
	Verdict      string
	Problems     []card // those of the following that are not well
	Controller   []card // what is wrong with itself and what it stands on, who else has its name, a refused configuration; empty as a rule
	Redis        []card
	Cameras      []card
	Figures      []figure // of the box; nil: not measured yet
}

// card is one thing that is well or not, and what to do about it.
type card struct {
	ID      string // unique on the page
	Name    string
	Mood    mood
	Short   string   // how it is, in a few words
	Why     string   // the reason in full
	Advice  string   // what somebody can do
	Command string   // that does it
	Notes   []string // of what has been
	Figures []figure
}

// mood is how a card looks, and a class of its style sheet.
type mood string

const (
	well    mood = "ok"
	unwell  mood = "bad"
	unknown mood = "unknown" // because of something else that is not well
	notice  mood = "notice"  // no trouble, but something to deal with some day
)

// view of the report at a time. It is well when and only when /readyz says so.
func (r *Report) view(now time.Time) view {
	v := view{
		Box: r.Box, Version: r.Version, Print: printOfPage(), Time: now.Format("2006-01-02 15:04:05 MST"), OK: len(r.troubles()) == 0,
		Controller: r.controllerCards(), Redis: []card{r.linkCard(now)}, Figures: boxFigures(r.Telemetry),
	}
	var but []string // what is no problem yet, and has to be known
	for i := range r.Unwritable {
		but = append(but, r.Unwritable[i].Name()+" cannot be written")
	}
	if says := r.Reload.Says(); says != "" {
		v.Controller = append(v.Controller, r.reloadCard(now))
		but = append(but, says)
	}
	if r.Redis != nil {
		v.Redis = append(v.Redis, serverCard(r.Redis, now))
	}
	for _, a := range r.Agents {
		v.Cameras = append(v.Cameras, r.cameraCard(a, now))
	}
	for _, u := range r.Unowned {
		v.Cameras = append(v.Cameras, card{
			ID: "unowned-" + u.Camera, Name: u.Camera, Mood: notice, Short: "is not configured", Why: u.Waiting() + " on disk for it.", Advice: sentence(u.Advice()),
		})
	}
	for _, cards := range [][]card{v.Controller, v.Redis, v.Cameras} {
		for _, c := range cards {
			if c.Mood == unwell {
				v.Problems = append(v.Problems, c)
			}
		}
	}
	comma := ", but "
	if v.Verdict = "All is well"; !v.OK {
		v.Verdict, comma = text.Count(len(v.Problems), "problem"), ", and "
	}
	v.Verdict += prefixed(comma, strings.Join(but, ", and "))
	return v
}

// controllerCards are what is wrong with the controller and what it stands on.
func (r *Report) controllerCards() (all []card) {
	for i, s := range r.Stuck {
		all = append(all, card{
			ID: fmt.Sprintf("stuck%d", i), Name: "Controller", Mood: unwell, Short: "does not go on", Why: s,
			Advice: "Restart the service, or the box. Is a disk full or broken?",
		})
	}
	for i, other := range r.Namesakes {
		all = append(all, card{
			ID: fmt.Sprintf("namesake%d", i), Name: r.Box, Mood: unwell, Short: "is also another controller's name", Why: "It is shared with controller " + other + ".",
			Advice: "Give each box a [controller] box of its own. Until then neither obeys commands that do not say which is meant.",
		})
	}
	for i, w := range r.Unwritable {
		all = append(all, card{
			ID: fmt.Sprintf("unwritable%d", i), Name: w.Name(), Mood: notice, Short: "cannot be written", Advice: sentence(w.Advice()),
			Why: w.Dir + ": " + w.Reason + ". All goes on, but nothing can be kept there for an outage or a restart.",
		})
	}
	return all
}

// reloadCard is about a configuration that is not, or not wholly, taken over.
func (r *Report) reloadCard(now time.Time) card {
	o := r.Reload
	c := card{ID: "reload", Name: "Configuration", Mood: notice, Short: "is not wholly taken over", Why: o.Reason(), Advice: sentence(o.Advice())}
	c.Figures = []figure{{"tried at", o.Clock(now)}}
	if o.Refused {
		c.Short = "is refused, the old one goes on"
	}
	return c
}

// linkCard is about the controller's own connection.
func (r *Report) linkCard(now time.Time) card {
	c := card{ID: "redis", Name: "Connection to Redis", Mood: well, Short: "works"}
	if r.Link.Live {
		c.Figures = []figure{{r.Link.State + " for", text.Lasting(now.Sub(r.Link.Since))}}
		return c
	}
	c.Figures = []figure{{"state", r.Link.State}}
	if r.Redis != nil && r.Redis.State != status.ProcessRunning {
		c.Mood, c.Short = unknown, "waits for the Redis of this box"
		return c
	}
	c.Mood, c.Short, c.Why = unwell, "does not work", r.Link.Cause
	c.Advice = sentence(r.Link.Advice) + "It is tried again by itself, nothing has to be restarted."
	return c
}

// serverCard is about the redis-server that the controller keeps.
func serverCard(s *status.RedisServer, now time.Time) card {
	c := card{ID: "redis-server", Name: "Redis of this box", Mood: well, Short: PlainRedis(s.State)}
	c.Figures = known([]figure{
		{string(s.State) + " for", text.Lasting(now.Sub(s.Since))},
		{"restarts", strconv.Itoa(s.Restarts)}, {"because it hung", some(s.Hangs)},
	})
	switch {
	case s.State != status.ProcessRunning:
		c.Mood, c.Why = unwell, s.LastExit
	case s.LastExit != "":
		c.Notes = []string{"last end: " + s.LastExit}
	}
	return c
}

// cameraCard is about one camera and its agent.
func (r *Report) cameraCard(a status.Process, now time.Time) card {
	seen := r.Camera(a)
	c := card{ID: "camera-" + a.Name, Name: a.Name, Mood: unwell, Why: Reason(a, seen), Figures: cameraFigures(r, a, seen, now)}
	switch {
	case r.Well(a):
		c.Mood, c.Short = well, "works"
	case a.State == status.ProcessStopped:
		c.Short, c.Why = "is stopped", "Stopped by command."
		c.Advice, c.Command = "When it is wanted again: ", r.command("start", a.Name)
	case a.State != status.ProcessRunning:
		c.Short, c.Why, c.Advice = Plainly(a.State), joined(c.Why, Wait(a, now)), adviceForEnd(a)
	default:
		r.explain(&c, a, seen)
	}
	if seen.Note != "" {
		c.Notes = append(c.Notes, seen.Note)
	}
	if end := LastEnd(a, c.Why); end != "" {
		c.Notes = append(c.Notes, end)
	}
	if a.Recoveries > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("recovery_command was run %s, the last time: %s", text.Count(a.Recoveries, "time"), a.LastRecovery))
	}
	return c
}

const adviceForCamera = "Look at the camera: is it plugged in, does it have power? It is tried again by itself, nothing has to be restarted."

func adviceForEnd(a status.Process) string {
	switch {
	case a.State == status.ProcessFailed:
		return "It is tried again by itself once that is corrected."
	case a.Failures > 0 && a.State != status.ProcessHanging:
		return adviceForCamera
	default:
		return ""
	}
}

// explain says what is wrong with a camera whose agent runs.
func (r *Report) explain(c *card, a status.Process, seen Camera) {
	switch {
	case !r.Link.Live:
		c.Mood, c.Short = unknown, "is not known"
		c.Why = "Not known while the connection to Redis does not work." + prefixed(" Its agent runs and says: ", a.Says)
	case seen.Trouble == elsewhere:
		c.Mood, c.Short = unknown, "works, but not with the Redis of this box"
	case seen.Link == "" && a.Failures > 0: // one of many short lives
		c.Short, c.Why, c.Advice = "gives no pictures", joined(c.Why, "trying it again just now"), adviceForCamera
	case seen.Trouble == isStarting:
		c.Short, c.Why = "is starting", notYet
	case seen.Link == "" && !a.Ready:
		c.Short = "is starting"
	case seen.Link != "" && seen.Link != datatransfer.Live.String():
		c.Short = "has no connection to Redis"
		c.Advice = "It is tried again by itself."
	case seen.Capture == string(camera.StateOpening):
		c.Short = "is being opened"
	case seen.Capture != "" && seen.Capture != string(camera.StateOK):
		c.Short, c.Advice = "gives no pictures", adviceForCamera
	case seen.Link != "" && !seen.Writable:
		c.Short = "is not stored: Redis takes no pictures"
	default:
		c.Short = "does not report"
		c.Advice, c.Command = "If it stays so: ", r.command("restart", a.Name)
	}
}

// command is what an operator types.
func (r *Report) command(what, name string) string {
	return fmt.Sprintf("client control --box %s %s %s", r.Box, what, name)
}

// joined puts what there is of two texts into one.
func joined(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// sentence makes a whole one of an advice.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	if !strings.HasSuffix(s, "?") {
		s += "."
	}
	return strings.ToUpper(s[:1]) + s[1:] + " "
}
