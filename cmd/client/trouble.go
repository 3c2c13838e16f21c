package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
)

// said is what a status tells of how its agent is.
type said struct {
	Link struct {
		State string   `json:"state"`
		Stuck []string `json:"stuck"`
	} `json:"link"`
	Capture struct {
		State  string `json:"state"`
		Reason string `json:"reason"`
	} `json:"capture"`
	Writable bool   `json:"writable"`
	Reason   string `json:"reason"`
}

// unwell is why a camera is not well, as the controller judges it too; empty if
// it is. One that was stopped is absent.
func (r report) unwell() (why []string) {
	if !r.present {
		return []string{"absent"}
	}
	var s said
	if err := json.Unmarshal(r.body, &s); err != nil {
		return []string{"its status cannot be read"}
	}
	if s.Link.State != datatransfer.Live.String() {
		why = append(why, "its link to Redis is "+cmp.Or(s.Link.State, "unknown"))
	}
	if len(s.Link.Stuck) > 0 {
		why = append(why, "parts of it do not return: "+strings.Join(s.Link.Stuck, ", "))
	}
	if s.Capture.State != string(camera.StateOK) {
		why = append(why, "capture is "+cmp.Or(s.Capture.State, "unknown")+because(s.Capture.Reason))
	}
	if !s.Writable {
		why = append(why, "Redis does not take its frames"+because(s.Reason))
	}
	return why
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// maxTrouble bounds, in characters, what an error shows of a status.
const maxTrouble = 300

func inWords(why []string) string {
	return fmt.Sprintf("%.*s", maxTrouble, printable(strings.Join(why, "; ")))
}
