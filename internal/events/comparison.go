package events

import (
	"strings"
	"sync/atomic"
	"time"

	"framekeeper/internal/status"
	"framekeeper/pkg/camera"
)

// Comparison derives events from one report after the other of the same box. What is
// unknown is no event: it is so because of something else. One goroutine may use it.
type Comparison struct {
	last       *status.Report // nil: there was none
	at         time.Time      // of last
	conditions map[string]*condition
	agents     map[string]*lossCount // by camera
	outage     *outage               // nil: none, and none to account for
	settling   atomic.Bool           // outage is not nil
}

// Settling reports whether an outage goes on, or is not accounted for yet: then what
// agents report of themselves (Own) is wanted in reports. Any goroutine may call it.
func (c *Comparison) Settling() bool { return c.settling.Load() }

// Next are the events between the report before and this one. Those of the first report
// are about what is not healthy.
func (c *Comparison) Next(r *status.Report, now time.Time) []Event {
	var all []Event
	if c.last == nil {
		c.conditions, c.agents = map[string]*condition{}, map[string]*lossCount{}
	} else {
		all = append(all, c.reloaded(r, now)...)
		all = append(all, c.restarted(r)...)
		all = append(all, c.stalled(r)...)
	}
	all = append(all, c.outageBegan(r, now)...)
	all = append(all, c.lost(r, now)...)
	all = append(all, c.outageEnded(r, now)...)
	all = append(all, c.judged(r, now)...)
	c.last, c.at = r, now
	c.settling.Store(c.outage != nil)
	for i := range all {
		if all[i].TimeUS == 0 {
			all[i].TimeUS = now.UnixMicro()
		}
	}
	return all
}

// reloaded is the event of a reload since the report before.
func (c *Comparison) reloaded(r *status.Report, now time.Time) []Event {
	if r.Reload == nil || r.Reload.AgoS >= now.Sub(c.at).Seconds() {
		return nil
	}
	e := Event{Kind: Reload, Health: status.Healthy, Text: "Configuration is reloaded"}
	if i := r.Reload.Item(); i.Health != status.Healthy {
		e.Health, e.Text = i.Health, i.Line()
	}
	return []Event{e}
}

// restarted are the events of processes that were started again.
func (c *Comparison) restarted(r *status.Report) (all []Event) {
	for i := range r.Agents {
		p := &r.Agents[i]
		before := process(c.last, p.Name)
		switch {
		case before == nil || p.Restarts <= before.Restarts:
		case p.Ends > before.Ends || before.State != status.ProcessRunning && before.State != status.ProcessStopping && before.State != status.ProcessStopped:
			all = append(all, Event{Kind: Restart, Health: status.Degraded, Camera: p.Name, Text: p.Name + ": its agent was started again" + colon(p.LastExit)})
		default:
			all = append(all, Event{Kind: Restart, Health: status.Healthy, Camera: p.Name, Text: p.Name + ": its agent was restarted by a command or a reload"})
		}
	}
	if now, before := r.Redis, c.last.Redis; now != nil && before != nil && now.Restarts > before.Restarts {
		all = append(all, Event{Kind: Redis, Health: status.Degraded, Subject: "restart", Text: "Redis of this box was started again" + colon(now.LastExit)})
	}
	return all
}

// stalled are the events of cameras that gave no frames between the reports. One that
// still gives none is not healthy, which is another event.
func (c *Comparison) stalled(r *status.Report) (all []Event) {
	for i := range r.Agents {
		p := &r.Agents[i]
		before, now := reported(c.last, p.Name), reported(r, p.Name)
		if before == nil || now == nil || before.Instance != now.Instance || now.Capture.Stalls <= before.Capture.Stalls || !captures(before) || !captures(now) {
			continue
		}
		all = append(all, Event{Kind: Stall, Health: status.Degraded, Camera: p.Name, Text: p.Name + " gave no frames for a moment"})
	}
	return all
}

func captures(a *status.Agent) bool { return a.Capture.State == camera.StateOK }

// process is that of a camera; nil if there is none.
func process(r *status.Report, camera string) *status.Process {
	for i := range r.Agents {
		if r.Agents[i].Name == camera {
			return &r.Agents[i]
		}
	}
	return nil
}

// reported is what a camera's agent has reported last that counts; nil: nothing. What it
// reports by itself is newer.
func reported(r *status.Report, camera string) *status.Agent {
	p := process(r, camera)
	switch {
	case p == nil:
		return nil
	case r.Own[camera] != nil && r.Own[camera].PID == p.PID && p.Silent.IsZero():
		return r.Own[camera]
	}
	return r.Reported(p)
}

// colon is ": " and s, or nothing for nothing.
func colon(s string) string {
	if s = strings.TrimSpace(s); s == "" {
		return ""
	}
	return ": " + s
}
