package status

import (
	"cmp"
	"fmt"
	"time"

	"framekeeper/internal/text"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
)

// Head is what a report shows of the controller and what it stands on.
type Head struct {
	Box        string       `json:"box"`
	Version    string       `json:"version"`
	Link       Link         `json:"link"`
	SharedWith []string     `json:"namesakes,omitempty"` // other controllers of this box's name
	Redis      *RedisServer `json:"redis,omitempty"`     // nil: the box runs none of its own
	Findings
}

// Report is all that a controller knows of its box at one moment.
type Report struct {
	Head
	Client Client   // for commands
	Stuck  []string // what of the controller itself does not go on; empty as a rule
	Agents []Process
	Seen   map[string]Observation // by camera; while the link is down it does not count
	Own    map[string]*Agent      // by camera; what agents have just reported over their own sockets, while and just after the link is down
}

// Verdict is the judgement of a whole box.
type Verdict struct {
	Health     Health
	Controller []Item // itself and what it stands on, if not healthy: empty as a rule
	Redis      []Item // the link, then the server of the box's own if there is one
	Cameras    []Item // in the order of the configuration
	Orphaned   []Item // spools
}

// OK reports whether the box works: every process runs, and its agent reports
// itself that it is connected, captures and can write.
func (v *Verdict) OK() bool { return v.Health.OK() }

// Items are all there are.
func (v *Verdict) Items() []Item {
	all := append([]Item{}, v.Controller...)
	all = append(all, v.Redis...)
	all = append(all, v.Cameras...)
	return append(all, v.Orphaned...)
}

// Problems are the items that somebody should look at: what is unknown because
// something else has failed is not among them.
func (v *Verdict) Problems() (all []Item) {
	for _, i := range v.Items() {
		if i.Health == Failed || i.Health == Degraded || i.Health == Unknown && v.Health == Unknown {
			all = append(all, i)
		}
	}
	return all
}

// Judge is how the box is at that time.
func (r *Report) Judge(now time.Time) Verdict {
	v := Verdict{Controller: r.controller(), Redis: []Item{r.link(now)}}
	if r.Redis != nil {
		v.Redis = append(v.Redis, r.Redis.item(now))
	}
	for i := range r.Agents {
		p := &r.Agents[i]
		e := r.evidence(p)
		v.Cameras = append(v.Cameras, Item{ID: "camera-" + p.Name, Name: p.Name, Judgement: e.Judge(now)})
	}
	for _, o := range r.Orphaned {
		v.Orphaned = append(v.Orphaned, o.Item())
	}
	found := map[Health]bool{}
	for _, i := range v.Items() {
		found[i.Health] = true
	}
	v.Health = Healthy
	for _, h := range []Health{Degraded, Unknown, Failed} {
		if found[h] {
			v.Health = h
		}
	}
	return v
}

func (r *Report) evidence(p *Process) Evidence {
	seen, ok := r.Seen[p.Name]
	if !ok {
		seen.Missing = Reason{Code: NotRead}
	}
	return Evidence{Process: p, Seen: seen, Own: r.own(p), Blind: !r.Link.Live, OtherRedis: r.Redis != nil && r.Redis.State != ProcessRunning, Box: r.Box, Client: r.Client}
}

// own is what the process that runs has just reported over its own socket.
func (r *Report) own(p *Process) *Agent {
	if a := r.Own[p.Name]; a != nil && a.PID == p.PID {
		return a
	}
	return nil
}

// controller is what is wrong with the controller and what it stands on.
func (r *Report) controller() (all []Item) {
	for i, s := range r.Stuck {
		all = append(all, Item{fmt.Sprintf("stuck%d", i), "Controller", Judgement{
			Health: Failed, Summary: "hangs", Reasons: []Reason{{ControllerHang, s}},
			Advice: "restart the service, or the box. Is a disk full or broken?",
		}})
	}
	return append(all, r.Items()...)
}

// Items are what is wrong with what the controller stands on.
func (h *Head) Items() (all []Item) {
	for i, other := range h.SharedWith {
		all = append(all, Item{fmt.Sprintf("namesake%d", i), h.Box, Judgement{
			Health: Failed, Summary: "is also another controller's name", Reasons: []Reason{{NameShared, other}},
			Advice: "give each box a [controller] box of its own",
		}})
	}
	return append(all, h.Findings.Items()...)
}

// Items are the findings, but for the orphaned spools.
func (f *Findings) Items() (all []Item) {
	for i := range f.Unwritable {
		w := &f.Unwritable[i]
		all = append(all, Item{fmt.Sprintf("unwritable%d", i), w.Name(), Judgement{
			Health: Degraded, Summary: "cannot be written", Reasons: []Reason{{DirUnwritable, w.Dir + ": " + w.Reason}}, Advice: w.Advice(),
		}})
	}
	if i := f.Reload.Item(); i.Health != Healthy {
		all = append(all, i)
	}
	return all
}

// Item is the judgement of an orphaned spool.
func (s OrphanedSpool) Item() Item {
	waiting := text.Count(s.Frames, "frame") + " wait"
	if s.Frames == 1 {
		waiting += "s"
	}
	return Item{"orphaned-" + s.Camera, s.Camera, Judgement{
		Health: Degraded, Summary: "is not configured", Reasons: []Reason{{Orphaned, waiting}},
		Advice: fmt.Sprintf("give a camera the name %s again and its agent sends them, or delete %s and %s", s.Camera, s.Dir, s.State),
	}}
}

// link is the controller's own connection.
func (r *Report) link(now time.Time) Item {
	j := Judgement{Health: Healthy, Summary: "is healthy"}
	switch {
	case r.Link.Live:
	case r.Redis != nil && r.Redis.State != ProcessRunning:
		j.Health, j.Summary = Unknown, "waits for the Redis of this box"
	default:
		j = Judgement{Health: Failed, Summary: "does not work", Reasons: []Reason{{ControllerLink, r.Link.State + colon(r.Link.Cause)}},
			Advice: cmp.Or(r.Link.Advice, byItself)}
	}
	if note := r.outage(now); note != "" {
		j.Notes = []string{note}
	}
	return Item{"redis", "Connection to Redis", j}
}

// outage is what there is to know of the link's outage: what waits for its end, or how
// long the last one was; "" if there is nothing, or it is no news any more.
func (r *Report) outage(now time.Time) string {
	last := r.Link.LastOutage
	switch {
	case r.Link.Live && last != nil && last.AgoS < newsTime.Seconds():
		return fmt.Sprintf("was away for %s, %s ago", text.Short(seconds(last.LastedS)), text.Lasting(seconds(last.AgoS)))
	case r.Link.Live || len(r.Own) == 0:
		return ""
	}
	var frames, onDisk int
	var bytes int64
	for _, a := range r.Own {
		frames += a.Outbox.Unsent
		if a.Spool != nil {
			onDisk, bytes = onDisk+a.Spool.Frames, bytes+a.Spool.Bytes
		}
	}
	return "away for " + text.Lasting(now.Sub(r.Link.Since)) + ": " + Waiting("to be sent", frames, onDisk, bytes)
}

// Waiting is what waits for Redis, or did, in words: so many frames, how many of them
// are on disk, and the bytes of those.
func Waiting(verb string, frames, onDisk int, bytes int64) string {
	s := text.Count(frames, "frame") + " " + verb
	if onDisk > 0 {
		s += fmt.Sprintf(", %d of them on disk (%.1f MiB)", onDisk, float64(bytes)/(1<<20))
	}
	return s
}

// seconds is a duration that JSON has.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// item is the judgement of the box's own redis-server.
func (s *RedisServer) item(now time.Time) Item {
	j := Judgement{Health: Healthy, Summary: s.State.Summary()}
	switch {
	case s.State != ProcessRunning:
		j.Health = Failed
		if s.LastExit != "" {
			j.Reasons = []Reason{{ProcessEnded, s.LastExit}}
		}
	case s.LastExit != "" && now.Sub(s.Since) < newsTime:
		j.Notes = []string{"last end: " + s.LastExit}
	}
	return Item{"redis-server", "Redis of this box", j}
}

// reported is a camera's judgement as JSON has it.
func (r *Report) reported(p *Process, j *Judgement) Reported {
	out := Reported{Health: j.Health, Advice: j.ToDo()}
	if a := r.Reported(p); a != nil {
		out.Link, out.Capture = a.Link.State, string(a.Capture.State)
	}
	why := cmp.Or(j.Why(), j.Summary)
	switch {
	case !j.Health.OK():
		out.Trouble = why
	case j.Health == Degraded:
		out.Note = why
	}
	return out
}

// Reported is the status of a process that counts; nil if none does: one that is not
// renewed, or is of another process, is not how the camera is.
func (r *Report) Reported(p *Process) *Agent {
	switch {
	case p.State == ProcessStopped || !p.Silent.IsZero():
		return nil
	case !r.Link.Live:
		return r.own(p)
	}
	seen := r.Seen[p.Name]
	if a := seen.Agent; a != nil && seen.Stale == 0 && (a.PID == 0 || p.PID == 0 || a.PID == p.PID) {
		return a
	}
	return nil
}

// Cameras are the cameras of a Box.
func (r *Report) Cameras(now time.Time) []Camera {
	all := []Camera{}
	for i, item := range r.Judge(now).Cameras {
		p := &r.Agents[i]
		all = append(all, Camera{Process: *p, ForS: Seconds(now.Sub(p.Since)), Reported: r.reported(p, &item.Judgement)})
	}
	return all
}

// Seconds is a duration as JSON has it.
func Seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// Alive is whether the controller itself goes on.
func (r *Report) Alive() Alive {
	return Alive{OK: len(r.Stuck) == 0, Controller: "up", Box: r.Box, Version: r.Version, Reasons: append([]string{}, r.Stuck...)}
}

// Ready is whether the box works.
func (r *Report) Ready(now time.Time) Ready {
	v := r.Judge(now)
	out := Ready{
		OK: v.OK(), Health: v.Health, Reasons: []string{}, Controller: "up", Head: r.Head,
		Order: []string{}, Agents: map[string]Process{}, Cameras: map[string]ReadyCamera{},
	}
	for _, i := range v.Items() {
		if !i.Health.OK() {
			out.Reasons = append(out.Reasons, i.Line())
		}
	}
	for i, item := range v.Cameras {
		p := &r.Agents[i]
		c := ReadyCamera{Reported: r.reported(p, &item.Judgement)}
		if a := r.Reported(p); a != nil {
			c.Writable, c.Reason = a.Writable, a.Reason
		}
		out.Order, out.Agents[p.Name], out.Cameras[p.Name] = append(out.Order, p.Name), *p, c
	}
	return out
}

// Line is the box on one line, for systemd.
func (r *Report) Line(now time.Time) string {
	v, running := r.Judge(now), 0
	for _, p := range r.Agents {
		if p.State == ProcessRunning {
			running++
		}
	}
	line := fmt.Sprintf("%s: %d of %d agents running, link %s", v.Health, running, len(r.Agents), r.Link.State)
	for _, i := range v.Controller {
		line += ", " + i.Name + " " + i.Summary
	}
	return line
}

// AgentLine is an agent on one line, for systemd and the controller.
func AgentLine(capture camera.Health, link datatransfer.State) string {
	return fmt.Sprintf("camera %s, link %s", capture.State, link) + colon(capture.Reason)
}
