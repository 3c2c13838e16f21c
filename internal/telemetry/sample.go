// Package telemetry measures the box: processor, temperature, memory, disk,
// network, load, and the same for each agent; and publishes it, what was
// measured while the link was down included. It promises that what cannot be
// measured is null rather than wrong, that what is kept is bounded, and that a
// reading that hangs (a dead network mount, a sensor on a stuck bus) is reported
// and holds up neither the other readings, nor publishing, nor the end of the
// program. The controller is its only caller.
//
// Why a sample's time is worked out when it is published: samples wait by the
// monotonic clock, so that what was measured in 1970 gets its right time once
// the box has it.
package telemetry

import (
	"encoding/json"
	"fmt"
	"time"
)

// Agent is what the supervisor knows of one agent.
type Agent struct {
	Name     string
	PID      int // 0: not running
	State    string
	Restarts int
	Frames   uint64    // new ones of the process's camera
	FramesAt time.Time // when that was so

	LatencyMS *float64 // of its answers to requests; nil: not known
}

// Sample is one measurement of the box. A nil number could not be measured.
type Sample struct {
	Box         string                 `json:"box"`
	Instance    string                 `json:"instance,omitempty"` // of the controller: distinguishes boxes of one name
	TimeUS      int64                  `json:"time_us"`            // Unix microseconds
	CPU         *float64               `json:"cpu"`                // percent of all cores, since the sample before
	Temperature *float64               `json:"temperature"`        // °C, of the hottest sensor
	Memory      *float64               `json:"memory"`             // percent
	Disk        *float64               `json:"disk"`               // percent of the file system that holds state_dir
	UptimeS     *float64               `json:"uptime_s"`           // of the box
	Load        *[3]float64            `json:"load"`               // over 1, 5 and 15 minutes
	Throttled   *Throttled             `json:"throttled"`          // null where no firmware reports it
	Network     map[string]Interface   `json:"network"`            // by name; without loopback
	Agents      map[string]AgentSample `json:"agents"`             // by camera name
	Hanging     []string               `json:"hanging,omitempty"`  // readings that are missing because they do not return
}

// AgentSample is one agent's part of a Sample.
type AgentSample struct {
	PID      int      `json:"pid"` // 0: not running
	State    string   `json:"state"`
	Restarts int      `json:"restarts"`
	CPU      *float64 `json:"cpu"` // percent of one core, since the sample before
	RSS      *uint64  `json:"rss"` // bytes
	FPS      *float64 `json:"fps"` // new frames of its camera a second, since the sample before

	LatencyMS *float64 `json:"latency_ms"` // of its answers to requests, in milliseconds; null: none in the last minute
}

// Interface is what has passed through a network interface since it came up.
type Interface struct {
	RXBytes   uint64 `json:"rx_bytes"`
	TXBytes   uint64 `json:"tx_bytes"`
	RXErrors  uint64 `json:"rx_errors"`
	TXErrors  uint64 `json:"tx_errors"`
	RXDropped uint64 `json:"rx_dropped"`
	TXDropped uint64 `json:"tx_dropped"`
}

// Payload is the sample as it is published: an object ("json"), or the array
// [cpu, temperature, memory] of the old system ("list").
func (s *Sample) Payload(format string) ([]byte, error) {
	var v any = s
	if format == "list" {
		v = []*float64{s.CPU, s.Temperature, s.Memory}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode telemetry: %w", err)
	}
	return b, nil
}
