package web

import (
	"fmt"
	"strings"
	"time"

	"framekeeper/internal/files"
	"framekeeper/internal/status"
	"framekeeper/internal/telemetry"
)

// Report is what the pages show of the box at one moment.
type Report struct {
	Box        string
	Version    string
	Link       Link
	Namesakes  []string            // other controllers of this box's name; empty as a rule
	Redis      *status.RedisServer // nil: the box runs none of its own
	Stuck      []string            // what of the controller itself does not go on; empty as a rule
	Agents     []status.Process
	Cameras    map[string]Camera      // by name: what each agent says of itself
	Unwritable []files.Unwritable     // where nothing can be kept, empty as a rule: no reason not to be ready, frames come as before
	Unowned    []status.OrphanedSpool // frames on disk that are no camera's: no reason not to be ready
	Reload     *status.Reload         // of the configuration, nil: none since the start; no reason not to be ready
	Telemetry  *telemetry.Sample      // nil before the first
}

// Link is the controller's own connection to Redis.
type Link struct {
	State string    `json:"state"`
	Live  bool      `json:"live"`
	Since time.Time `json:"since"`
	Cause string    `json:"cause"` // why it is not LIVE, "" if it is

	Advice string `json:"advice,omitempty"` // what to do about it
}

// Camera is what an agent last said in Redis, and what is wrong with it.
type Camera struct {
	Link     string `json:"link"`    // state of the agent's link; "" if unknown
	Capture  string `json:"capture"` // state of its camera; "" if unknown
	Writable bool   `json:"writable"`
	Reason   string `json:"reason"`  // why it is not writable
	Trouble  string `json:"trouble"` // why the camera is not well, "" if it is
	PID      int    `json:"-"`       // of the process that said so; 0 if unknown

	Note string `json:"note,omitempty"` // what its agent has to do without, though the camera may be well
}

// Well reports whether the agent says that it works.
func (c Camera) Well() bool { return c.Trouble == "" }

// troubles are all reasons why not all is as it should be: that every process
// runs, and its agent says itself that it is connected, captures and can write.
func (r *Report) troubles() []string {
	all := append([]string{}, r.Stuck...)
	if !r.Link.Live {
		all = append(all, "the controller's link to Redis is "+r.Link.State+prefixed(": ", r.Link.Cause))
	}
	if r.Redis != nil && r.Redis.State != status.ProcessRunning {
		all = append(all, "this box's own Redis "+PlainRedis(r.Redis.State)+prefixed(": ", r.Redis.LastExit))
	}
	if len(r.Namesakes) > 0 {
		all = append(all, "the box's name is shared: "+r.Box+" is also the name of controller "+strings.Join(r.Namesakes, " and ")+
			": give each box a [controller] box of its own")
	}
	for _, a := range r.Agents {
		switch c := r.Camera(a); {
		case a.State != status.ProcessRunning && a.State != status.ProcessStopped:
			all = append(all, a.Name+": its agent "+Plainly(a.State)+prefixed(", last end: ", a.LastExit))
		case !r.Well(a):
			all = append(all, a.Name+": "+c.Trouble)
		}
	}
	return all
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// Well reports whether one agent is as it should be.
func (r *Report) Well(a status.Process) bool {
	return a.State == status.ProcessRunning && r.Camera(a).Well()
}

// Alive is the JSON of /healthz.
type Alive struct {
	OK         bool     `json:"ok"`
	Controller string   `json:"controller"` // always "up": it answered
	Box        string   `json:"box"`
	Version    string   `json:"version"`
	Reasons    []string `json:"reasons"` // why not OK
}

func (r *Report) alive() Alive {
	return Alive{
		OK: len(r.Stuck) == 0, Controller: "up", Box: r.Box, Version: r.Version, Reasons: append([]string{}, r.Stuck...),
	}
}

// Health is the JSON of /readyz.
type Health struct {
	OK         bool                      `json:"ok"`
	Reasons    []string                  `json:"reasons"`    // why not OK
	Controller string                    `json:"controller"` // always "up": it answered
	Box        string                    `json:"box"`
	Version    string                    `json:"version"`
	Link       Link                      `json:"link"`
	Namesakes  []string                  `json:"namesakes,omitempty"` // other controllers of this box's name
	Redis      *status.RedisServer       `json:"redis,omitempty"`
	Order      []string                  `json:"order"`   // the cameras' names as they are in the configuration
	Agents     map[string]status.Process `json:"agents"`  // the processes, by camera name
	Cameras    map[string]Camera         `json:"cameras"` // what they say of themselves
	Unwritable []files.Unwritable        `json:"unwritable,omitempty"`
	Unowned    []status.OrphanedSpool    `json:"unowned,omitempty"`
	Reload     *status.Reload            `json:"reload,omitempty"` // the last one since the controller's start
}

func (r *Report) health() Health {
	troubles := r.troubles()
	h := Health{
		OK: len(troubles) == 0, Reasons: troubles, Controller: "up", Box: r.Box, Version: r.Version,
		Link: r.Link, Namesakes: r.Namesakes, Redis: r.Redis, Unwritable: r.Unwritable, Unowned: r.Unowned, Reload: r.Reload,
		Order: []string{}, Agents: map[string]status.Process{}, Cameras: map[string]Camera{},
	}
	for _, a := range r.Agents {
		h.Order = append(h.Order, a.Name)
		h.Agents[a.Name] = a
		h.Cameras[a.Name] = r.Camera(a)
	}
	return h
}

// Camera is what is known of an agent's camera. What is in Redis counts only if
// it is of the process that runs, and that gives signs of life.
func (r *Report) Camera(a status.Process) Camera {
	c, ok := r.Cameras[a.Name]
	switch {
	case a.State == status.ProcessStopped:
		return Camera{Trouble: "stopped by command, until client control start " + a.Name}
	case !a.Silent.IsZero():
		return Camera{Trouble: fmt.Sprintf("no sign of life for %v: it hangs, or was stopped", time.Since(a.Silent).Round(time.Second))}
	case !ok:
		return Camera{Trouble: "not known"}
	case c.Well() && c.PID != 0 && a.PID != 0 && c.PID != a.PID:
		return Camera{Trouble: fmt.Sprintf("the status in Redis is of process %d: process %d has shown none yet", c.PID, a.PID)}
	case c.Well() && r.foreign():
		c.Trouble = elsewhere
	case c.Trouble == NoStatus && a.State == status.ProcessRunning && a.Failures == 0 && time.Since(a.Since) < startTime:
		c.Trouble = isStarting
	}
	return c
}

// NoStatus is the trouble of an agent that Redis knows nothing of.
const NoStatus = "no status in Redis: the agent does not reach it, or hangs"

// isStarting is the same of one that has just begun: it takes a moment.
const (
	isStarting = "is starting, " + notYet
	notYet     = "no status in Redis yet"
)

// startTime is more than an agent takes until its first status is in Redis.
const startTime = 5 * time.Second

// elsewhere is the trouble of an agent that works, with somebody else's Redis.
const elsewhere = "it talks to a Redis that is not this box's own"

// foreign reports whether somebody else answers at the address of the box's own
// Redis.
func (r *Report) foreign() bool {
	return r.Redis != nil && r.Redis.State != status.ProcessRunning && r.Link.Live
}
