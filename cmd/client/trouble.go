package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
)

// maxTrouble bounds, in characters, what an error shows of a status.
const maxTrouble = 300

// trouble is what the agent itself says is wrong with it, on one line; "" if
// nothing is, or it is not known.
func (r *report) trouble() string {
	var says struct {
		Link struct {
			State string `json:"state"`
		} `json:"link"`
		Capture struct {
			State  string `json:"state"`
			Reason string `json:"reason"`
		} `json:"capture"`
		Writable *bool  `json:"writable"`
		Reason   string `json:"reason"`
	}
	if r == nil || json.Unmarshal(r.body, &says) != nil {
		return ""
	}
	var all []string
	if c := says.Capture; c.State != "" && c.State != string(camera.StateOK) {
		all = append(all, "capture is "+c.State+because(c.Reason))
	}
	if l := says.Link.State; l != "" && l != datatransfer.Live.String() {
		all = append(all, "its link to Redis is "+l)
	}
	if says.Writable != nil && !*says.Writable {
		all = append(all, "Redis does not take its frames"+because(says.Reason))
	}
	return fmt.Sprintf("%.*s", maxTrouble, printable(strings.Join(all, "; ")))
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}
