package control

import (
	"time"

	"framekeeper/internal/files"
	"framekeeper/internal/reload"
	"framekeeper/internal/supervise"
	"framekeeper/internal/orphans"
)

// BoxStatus is the result of the command status.
type BoxStatus struct {
	Box     string         `json:"box"`
	Version string         `json:"version"`
	OK      bool           `json:"ok"` // every camera is well, the name is the box's alone, and what must be kept could be
	UptimeS float64        `json:"uptime_s"`
	Config  string         `json:"config"`   // the file
	LoadedS float64        `json:"loaded_s"` // how long ago it was last taken over
	LinkS   float64        `json:"link_s"`   // how long the controller's link has been LIVE
	Cameras []CameraStatus `json:"cameras"`  // in the order of the configuration

	Reload  *reload.Outcome `json:"reload,omitempty"`  // the last one since the controller's start
	Unowned []orphans.Spool `json:"unowned,omitempty"` // frames on disk that are no camera's

	Unwritable []files.Unwritable `json:"unwritable,omitempty"` // where nothing can be kept
}

// CameraStatus is one camera's agent: the process, and what it says of itself.
type CameraStatus struct {
	supervise.Status
	ForS    float64 `json:"for_s"`   // since when State holds
	Link    string  `json:"link"`    // "" if unknown
	Capture string  `json:"capture"` // "" if unknown
	Trouble string  `json:"trouble"` // "" if it is well

	Note string `json:"note,omitempty"` // what its agent has to do without
}

// ReloadResult is the result of the command reload.
type ReloadResult struct {
	Sections []string          `json:"sections"` // of the file that have changed
	Cameras  supervise.Changes `json:"cameras"`
}

// Seconds is a duration as results have it.
func Seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }
