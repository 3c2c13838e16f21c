package view

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"framekeeper/internal/status"
	"framekeeper/internal/telemetry"
	"framekeeper/internal/web"
)

// reports are all boxes as the pages show them. A box is known by its telemetry, or by
// the host that its cameras' statuses name.
func (f *fleet) reports() web.Fleet {
	link := status.LinkOf(f.link())
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	all := web.Fleet{Version: f.version, Link: link}
	for _, feature := range slices.Sorted(maps.Keys(f.off)) {
		all.Off = append(all.Off, feature+": "+f.off[feature])
	}
	boxes := map[string]*web.Report{}
	for name, m := range f.boxes {
		r := f.newReport(name, all.Link)
		r.Telemetry, r.Measured = &m.Sample, m.at
		boxes[name] = r
	}
	owner := f.owners()
	for _, name := range slices.Sorted(maps.Keys(f.cameras)) {
		s := f.cameras[name]
		box := cmp.Or(owner[name], boxOf(s.host), "no box known")
		r := boxes[box]
		if r == nil {
			r = f.newReport(box, all.Link)
			boxes[box] = r
		}
		r.Agents = append(r.Agents, s.process(name, r.Telemetry, now.Sub(r.Measured) < nearly))
		r.Seen[name], r.Heard[name] = s.Observation, s.heard
		if s.noRequest != "" {
			r.NoRequest[name] = s.noRequest
		}
	}
	for _, r := range boxes {
		all.Boxes = append(all.Boxes, *r)
	}
	return all
}

func (f *fleet) newReport(box string, link status.Link) *web.Report {
	return &web.Report{
		Report: status.Report{Head: status.Head{Box: box, Version: f.version, Link: link}, Client: f.client, Seen: map[string]status.Observation{}},
		Heard:  map[string]time.Time{}, NoRequest: map[string]string{},
	}
}

// owners are the boxes of cameras, by their telemetry: of two that name a camera the
// one whose process reports it. The caller holds mu.
func (f *fleet) owners() map[string]string {
	owner := map[string]string{}
	for _, box := range slices.Sorted(maps.Keys(f.boxes)) {
		for name, a := range f.boxes[box].Agents {
			s := f.cameras[name]
			if owner[name] == "" || s != nil && s.Agent != nil && s.Agent.PID == a.PID {
				owner[name] = box
			}
		}
	}
	return owner
}

// boxOf is the name that a box of that host has by default.
func boxOf(host string) string {
	name, _, _ := strings.Cut(strings.ToLower(host), ".")
	return name
}

// process is the agent's, as far as it can be seen from here. The box's telemetry, if
// it is new, knows more of it.
func (s *sighting) process(name string, t *telemetry.Sample, fresh bool) status.Process {
	p := status.Process{Name: name, State: status.ProcessRunning, Ready: true}
	if s.Agent != nil {
		p.PID, p.Since = s.Agent.PID, s.heard.Add(-time.Duration(s.Agent.UptimeS)*time.Second)
	}
	if t == nil {
		return p
	}
	a, ok := t.Agents[name]
	if ok {
		p.Restarts = a.Restarts
	}
	if ok && fresh && a.State != "" && a.PID == 0 {
		p.State, p.PID = status.ProcessState(a.State), 0
	}
	return p
}
