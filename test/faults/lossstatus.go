package main

import (
	"encoding/json"
	"strings"

	"framekeeper/pkg/outbox"
	"framekeeper/pkg/spool"
)

// agentStatus is what the rows look at in status:<camera>.
type agentStatus struct {
	Stream outbox.StreamStatus `json:"stream"`
	Outbox outbox.Stats        `json:"outbox"`
	Spool  *spool.Stats        `json:"spool"`
}

// status is what the agent shows of itself, up to a second old.
func (s *scene) status() (st agentStatus) {
	text, _ := s.server.Do("GET", "status:"+cameraName).(string)
	if err := json.Unmarshal([]byte(text), &st); err != nil {
		s.Fatalf("read status %q: %v", text, err)
	}
	return st
}

func contains(text, part string) bool { return strings.Contains(text, part) }
