package web

import (
	"time"

	"framekeeper/internal/supervise"
	"framekeeper/internal/telemetry"
)

// Report is what the pages show of the box at one moment.
type Report struct {
	Box       string
	Version   string
	Link      Link
	Agents    []supervise.Status
	Telemetry *telemetry.Sample // nil before the first
}

// Link is the controller's own connection to Redis.
type Link struct {
	State string    `json:"state"`
	Live  bool      `json:"live"`
	Since time.Time `json:"since"`
	Cause string    `json:"cause"` // why it is not LIVE, "" if it is
}

// healthy reports whether all is as it should be.
func (r *Report) healthy() bool {
	for _, a := range r.Agents {
		if a.State != supervise.Running {
			return false
		}
	}
	return r.Link.Live
}

// Health is the JSON of /healthz.
type Health struct {
	OK         bool                        `json:"ok"`
	Controller string                      `json:"controller"` // always "up": it answered
	Box        string                      `json:"box"`
	Version    string                      `json:"version"`
	Link       Link                        `json:"link"`
	Agents     map[string]supervise.Status `json:"agents"` // by camera name
}

func (r *Report) health() Health {
	h := Health{
		OK: r.healthy(), Controller: "up", Box: r.Box, Version: r.Version,
		Link: r.Link, Agents: map[string]supervise.Status{},
	}
	for _, a := range r.Agents {
		h.Agents[a.Name] = a
	}
	return h
}
