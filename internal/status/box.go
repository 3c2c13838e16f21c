package status

import (
	"fmt"

	"framekeeper/internal/files"
	"framekeeper/internal/text"
)

// Box is the result of the command status.
type Box struct {
	Box     string   `json:"box"`
	Version string   `json:"version"`
	OK      bool     `json:"ok"` // every camera is healthy, and the name is the box's alone
	UptimeS float64  `json:"uptime_s"`
	Config  string   `json:"config"`   // the file
	LoadedS float64  `json:"loaded_s"` // how long ago it was last taken over
	LinkS   float64  `json:"link_s"`   // how long the controller's link has been LIVE
	Cameras []Camera `json:"cameras"`  // in the order of the configuration

	Reload   *Reload         `json:"reload,omitempty"`  // the last one since the controller's start
	Orphaned []OrphanedSpool `json:"unowned,omitempty"` // frames on disk that are no camera's

	Unwritable []files.Unwritable `json:"unwritable,omitempty"` // directories that cannot be written
}

// Camera is one camera of a box: its agent's process, and what the agent reports.
type Camera struct {
	Process
	ForS    float64 `json:"for_s"`   // since when State holds
	Link    string  `json:"link"`    // "" if unknown
	Capture string  `json:"capture"` // "" if unknown
	Trouble string  `json:"trouble"` // "" if it is healthy

	Note string `json:"note,omitempty"` // what its agent has to do without
}

// OrphanedSpool is frames on disk of a camera that is not configured.
type OrphanedSpool struct {
	Camera string `json:"camera"` // the name it had
	Dir    string `json:"dir"`
	State  string `json:"state"` // what else there is of it: state_dir/<camera>
	Frames int    `json:"frames"`
	Bytes  int64  `json:"bytes"` // on disk
}

// Advice is what to do about it.
func (s OrphanedSpool) Advice() string {
	return fmt.Sprintf("give a camera the name %s again and it goes on from there, or delete %s and %s", s.Camera, s.Dir, s.State)
}

// Waiting is how many frames wait: "1 frame waits", "66 frames wait".
func (s OrphanedSpool) Waiting() string {
	if s.Frames == 1 {
		return "1 frame waits"
	}
	return text.Count(s.Frames, "frame") + " wait"
}
