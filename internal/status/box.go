package status

import (
	"time"

	"framekeeper/internal/files"
)

// Box is the result of the command status.
type Box struct {
	Box     string   `json:"box"`
	Version string   `json:"version"`
	OK      bool     `json:"ok"` // the same as /readyz's
	UptimeS float64  `json:"uptime_s"`
	Config  string   `json:"config"`   // the file
	LoadedS float64  `json:"loaded_s"` // how long ago it was last taken over
	LinkS   float64  `json:"link_s"`   // how long the controller's link has been LIVE
	Cameras []Camera `json:"cameras"`  // in the order of the configuration

	Findings
}

// Findings are what does not keep a box from working, and has to be put right.
type Findings struct {
	Reload     *Reload            `json:"reload,omitempty"` // the last one since the controller's start
	Unwritable []files.Unwritable `json:"unwritable,omitempty"`
	Orphaned   []OrphanedSpool    `json:"unowned,omitempty"`
}

// Camera is one camera of a box: its agent's process, and what the agent reports.
type Camera struct {
	Process
	ForS float64 `json:"for_s"` // since when State holds
	Reported
}

// Reported is what an agent last reported in Redis, and the judgement of its
// camera.
type Reported struct {
	Link    string `json:"link"`           // state of the agent's link; "" if unknown
	Capture string `json:"capture"`        // state of its camera; "" if unknown
	Trouble string `json:"trouble"`        // why the camera does not work; "" if it does
	Note    string `json:"note,omitempty"` // why it is degraded
	Health  Health `json:"health"`
	Advice  string `json:"advice,omitempty"` // what to do about it
}

// OrphanedSpool is frames on disk of a camera that is not configured.
type OrphanedSpool struct {
	Camera string `json:"camera"` // the name it had
	Dir    string `json:"dir"`
	State  string `json:"state"` // what else there is of it: state_dir/<camera>
	Frames int    `json:"frames"`
	Bytes  int64  `json:"bytes"` // on disk
}

// Link is the controller's own connection to Redis.
type Link struct {
	State string    `json:"state"`
	Live  bool      `json:"live"`
	Since time.Time `json:"since"`
	Cause string    `json:"cause"` // why it is not LIVE, "" if it is

	Advice string `json:"advice,omitempty"` // what to do about it
}

// Alive is the JSON of /healthz.
type Alive struct {
	OK         bool     `json:"ok"`
	Controller string   `json:"controller"` // always "up": it answered
	Box        string   `json:"box"`
	Version    string   `json:"version"`
	Reasons    []string `json:"reasons"` // why not OK
}

// Ready is the JSON of /readyz.
type Ready struct {
	OK         bool     `json:"ok"`
	Health     Health   `json:"health"`
	Reasons    []string `json:"reasons"`    // why not OK
	Controller string   `json:"controller"` // always "up": it answered
	Head
	Order   []string               `json:"order"`   // the cameras' names as they are in the configuration
	Agents  map[string]Process     `json:"agents"`  // by camera name
	Cameras map[string]ReadyCamera `json:"cameras"` // by name
}

// ReadyCamera is one camera of Ready.
type ReadyCamera struct {
	Reported
	Writable bool   `json:"writable"`
	Reason   string `json:"reason"` // why it is not writable
}
