// Package events is what has happened to a box: cameras that failed and came back,
// outages, losses, restarts, reloads. A Comparison derives events from successive
// reports of internal/status and from nothing else, so that whoever has reports has
// the same events in the same words. A Log has the newest ones, in memory and in a
// file that outlives the program.
//
// It promises that both stay small whatever happens (what repeats itself soon is
// counted), that a torn or damaged file costs the damaged lines only, and that a disk
// which hangs or refuses holds up nobody. It does not promise an event that was written
// in the last seconds before a power cut.
package events

import (
	"fmt"
	"time"

	"framekeeper/internal/status"
)

// Kind is what an event is about.
type Kind string

// The kinds.
const (
	Start     Kind = "start"     // of the controller
	Stop      Kind = "stop"      // of the controller, in order
	Camera    Kind = "camera"    // a camera's health is another
	Stall     Kind = "stall"     // a camera gave no frames for a moment, and gives them again
	Restart   Kind = "restart"   // a camera's agent was started again
	Loss      Kind = "loss"      // frames are lost, and declared
	Outage    Kind = "outage"    // the link to Redis is lost (failed), or is back
	Redis     Kind = "redis"     // the health of the box's own Redis is another, or it was started again
	Reload    Kind = "reload"    // a configuration was taken over, or was not
	Name      Kind = "name"      // another controller has the box's name, or has it no more
	Directory Kind = "directory" // a directory cannot be written, or can be again
	Orphaned  Kind = "orphaned"  // frames on disk for a camera that is not configured
	Hang      Kind = "hang"      // a part of the controller does not go on, or does again
)

// Kinds are all there are.
func Kinds() []Kind {
	return []Kind{Start, Stop, Camera, Stall, Restart, Loss, Outage, Redis, Reload, Name, Directory, Orphaned, Hang}
}

// Event is one thing that happened.
type Event struct {
	ID      uint64        `json:"id"`                 // rises; one that repeats itself keeps its own
	TimeUS  int64         `json:"time_us"`            // Unix microseconds by the box's clock; of the last time
	FirstUS int64         `json:"first_us,omitempty"` // of the first time, if there were several
	Count   int           `json:"count,omitempty"`    // how many times, if there were several
	Kind    Kind          `json:"kind"`
	Health  status.Health `json:"health"`            // healthy: something is healthy again, or was to happen
	Camera  string        `json:"camera,omitempty"`  // whose it is
	Subject string        `json:"subject,omitempty"` // what it is about, where the kind does not say it all
	Text    string        `json:"text"`              // one line for people

	LastedS     float64 `json:"lasted_s,omitempty"`      // what is over had lasted so long
	Waited      int     `json:"waited,omitempty"`        // frames that had to wait for Redis
	OnDisk      int     `json:"on_disk,omitempty"`       // of them
	OnDiskBytes int64   `json:"on_disk_bytes,omitempty"` // of those
	Lost        uint64  `json:"lost,omitempty"`          // frames, declared
}

// Time is when it happened, the last time.
func (e *Event) Time() time.Time { return time.UnixMicro(e.TimeUS) }

// First is when it happened the first time.
func (e *Event) First() time.Time {
	if e.FirstUS == 0 {
		return e.Time()
	}
	return time.UnixMicro(e.FirstUS)
}

// Times is how often it happened.
func (e *Event) Times() int { return max(e.Count, 1) }

// repeats reports whether the event is the same as an earlier one.
func (e *Event) repeats(old *Event) bool {
	return e.Kind == old.Kind && e.Health == old.Health && e.Camera == old.Camera && e.Subject == old.Subject
}

// ParseSince reads a point in time as people and programs give it: RFC 3339, or how long
// before now.
func ParseSince(s string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(s); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	return time.Time{}, fmt.Errorf("%.40q: expected a time such as %s, or how long ago, such as 90m", s, now.UTC().Format(time.RFC3339))
}
