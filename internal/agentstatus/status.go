// Package agentstatus is an agent's status as its readers judge it: what a
// camera lacks is said in the same words by the controller and by the client. It
// promises that only the agent's own words count, and leaves to its readers what
// no words can tell: a key that is gone, or a status that stays the same.
package agentstatus

import (
	"cmp"
	"encoding/json"
	"strings"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
)

// Status is the part of it that says whether the camera is well.
type Status struct {
	PID    int   `json:"pid"`
	TimeUS int64 `json:"time_us"`
	Link   struct {
		State string   `json:"state"`
		Stuck []string `json:"stuck"`
	} `json:"link"`
	Capture struct {
		State  string `json:"state"`
		Reason string `json:"reason"`
	} `json:"capture"`
	Writable bool   `json:"writable"`
	Reason   string `json:"reason"` // why it is not
	NoSocket string `json:"no_socket"`
}

// Parse reads a status.
func Parse(text []byte) (s Status, err error) {
	err = json.Unmarshal(text, &s)
	return s, err
}

// Troubles are why the camera is not well, the worst first; none if it is.
func (s *Status) Troubles() (all []string) {
	if s.Link.State != datatransfer.Live.String() {
		all = append(all, "its link to Redis is "+cmp.Or(s.Link.State, "unknown"))
	}
	if len(s.Link.Stuck) > 0 {
		all = append(all, "parts of it do not return, is a disk hanging? "+strings.Join(s.Link.Stuck, ", "))
	}
	if s.Capture.State != string(camera.StateOK) {
		all = append(all, "capture is "+cmp.Or(s.Capture.State, "unknown")+because(s.Capture.Reason))
	}
	if !s.Writable {
		all = append(all, "Redis does not take its frames"+because(s.Reason))
	}
	return all
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}
