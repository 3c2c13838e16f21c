package web

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"framekeeper/internal/redisserver"
	"framekeeper/internal/supervise"
	"framekeeper/internal/telemetry"
	"framekeeper/internal/words"
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
	Controller   []card // what of itself does not go on; empty as a rule
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
)

type figure struct{ Name, Value string }

// view of the report at a time. It is well when and only when /readyz says so.
func (r *Report) view(now time.Time) view {
	v := view{
		Box: r.Box, Version: r.Version, Print: printOfPage(), Time: now.Format("2006-01-02 15:04:05 MST"), OK: len(r.troubles()) == 0,
		Redis: []card{r.linkCard(now)}, Figures: boxFigures(r.Telemetry),
	}
	for i, s := range r.Stuck {
		v.Controller = append(v.Controller, card{
			ID: fmt.Sprintf("stuck%d", i), Name: "Controller", Mood: unwell, Short: "does not go on", Why: s,
			Advice: "Restart the service, or the box. Is a disk full or broken?",
		})
	}
	if r.Redis != nil {
		v.Redis = append(v.Redis, serverCard(r.Redis, now))
	}
	for _, a := range r.Agents {
		v.Cameras = append(v.Cameras, r.cameraCard(a, now))
	}
	for _, cards := range [][]card{v.Controller, v.Redis, v.Cameras} {
		for _, c := range cards {
			if c.Mood == unwell {
				v.Problems = append(v.Problems, c)
			}
		}
	}
	if v.Verdict = "All is well"; !v.OK {
		v.Verdict = words.Count(len(v.Problems), "problem")
	}
	return v
}

// linkCard is about the controller's own connection.
func (r *Report) linkCard(now time.Time) card {
	c := card{ID: "redis", Name: "Connection to Redis", Mood: well, Short: "works"}
	if r.Link.Live {
		c.Figures = []figure{{r.Link.State + " for", words.Lasting(now.Sub(r.Link.Since))}}
		return c
	}
	c.Figures = []figure{{"state", r.Link.State}}
	c.Mood, c.Short, c.Why = unwell, "does not work", r.Link.Cause
	c.Advice = sentence(r.Link.Advice) + "It is tried again by itself, nothing has to be restarted."
	return c
}

// serverCard is about the redis-server that the controller keeps.
func serverCard(s *redisserver.Status, now time.Time) card {
	c := card{ID: "redis-server", Name: "Redis of this box", Mood: well, Short: PlainRedis(s.State)}
	c.Figures = []figure{{string(s.State) + " for", words.Lasting(now.Sub(s.Since))}, {"restarts", strconv.Itoa(s.Restarts) + hung(s.Hangs)}}
	switch {
	case s.State != redisserver.Running:
		c.Mood, c.Why = unwell, s.LastExit
	case s.LastExit != "":
		c.Notes = []string{"last end: " + s.LastExit}
	}
	return c
}

// cameraCard is about one camera and its agent.
func (r *Report) cameraCard(a supervise.Status, now time.Time) card {
	seen := r.Camera(a)
	c := card{ID: "camera-" + a.Name, Name: a.Name, Mood: unwell, Why: Reason(a, seen), Figures: cameraFigures(r, a, seen, now)}
	switch {
	case r.Well(a):
		c.Mood, c.Short = well, "works"
	case a.State == supervise.Stopped:
		c.Short, c.Why = "is stopped", "Stopped by command."
		c.Advice, c.Command = "When it is wanted again: ", r.command("start", a.Name)
	case a.State != supervise.Running:
		c.Short, c.Why, c.Advice = Plainly(a.State), joined(c.Why, Wait(a, now)), adviceForEnd(a)
	default:
		r.explain(&c, a, seen)
	}
	if end := LastEnd(a, c.Why); end != "" {
		c.Notes = append(c.Notes, end)
	}
	if a.Recoveries > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("recovery_command was run %s, the last time: %s", words.Count(a.Recoveries, "time"), a.LastRecovery))
	}
	return c
}

const adviceForCamera = "Look at the camera: is it plugged in, does it have power? It is tried again by itself, nothing has to be restarted."

func adviceForEnd(a supervise.Status) string {
	switch {
	case a.State == supervise.Failed:
		return "It is tried again by itself once that is corrected."
	case a.Failures > 0 && a.State != supervise.Hanging:
		return adviceForCamera
	default:
		return ""
	}
}

// explain says what is wrong with a camera whose agent runs.
func (r *Report) explain(c *card, a supervise.Status, seen Camera) {
	switch {
	case !r.Link.Live:
		c.Mood, c.Short = unknown, "is not known"
		c.Why = "Not known while the connection to Redis does not work." + prefixed(" Its agent runs and says: ", a.Says)
	case seen.Link == "" && a.Failures > 0: // one of many short lives
		c.Short, c.Why, c.Advice = "gives no pictures", joined(c.Why, "trying it again just now"), adviceForCamera
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

func cameraFigures(r *Report, a supervise.Status, seen Camera, now time.Time) []figure {
	usage := usageOf(r.Telemetry, a.Name)
	all := []figure{
		{"pictures/s", number(usage.FPS, "")},
		{"restarts", strconv.Itoa(a.Restarts) + hung(a.Hangs)},
		{"failures in a row", some(a.Failures)},
		{"so for", words.Lasting(now.Sub(a.Since))},
		{"link", seen.Link},
		{"capture", seen.Capture},
		{"CPU", number(usage.CPU, "%")},
		{"memory", mebibytes(usage.RSS)},
		{"pid", some(a.PID)},
	}
	if a.State == supervise.Running {
		all[3].Name = "running for"
	}
	return known(all)
}

func usageOf(s *telemetry.Sample, name string) telemetry.AgentSample {
	if s == nil || s.Agents[name].PID == 0 {
		return telemetry.AgentSample{}
	}
	return s.Agents[name]
}

func boxFigures(s *telemetry.Sample) []figure {
	if s == nil {
		return nil
	}
	all := []figure{
		{"CPU", cmp.Or(number(s.CPU, "%"), "unknown")},
		{"temperature", cmp.Or(number(s.Temperature, "°C"), "unknown")},
		{"memory", cmp.Or(number(s.Memory, "%"), "unknown")},
		{"disk", cmp.Or(number(s.Disk, "%"), "unknown")},
	}
	if s.UptimeS != nil {
		all = append(all, figure{"up for", words.Lasting(time.Duration(*s.UptimeS * float64(time.Second)))})
	}
	if s.Throttled != nil && len(s.Throttled.Now) > 0 {
		all = append(all, figure{"firmware warns of", strings.Join(s.Throttled.Now, ", ")})
	}
	return all
}

// known drops figures without a value.
func known(all []figure) []figure {
	return slices.DeleteFunc(all, func(f figure) bool { return f.Value == "" })
}

// some is "" for none.
func some(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func number(v *float64, unit string) string {
	if v == nil {
		return ""
	}
	return strings.TrimSpace(fmt.Sprintf("%.1f %s", *v, unit))
}

func mebibytes(v *uint64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.1f MiB", float64(*v)/(1<<20))
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
