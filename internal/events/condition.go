package events

import (
	"cmp"
	"strings"
	"time"

	"framekeeper/internal/status"
	"framekeeper/internal/text"
	"framekeeper/pkg/camera"
)

// How long something has to be as it is before that is an event.
const (
	holdTime     = 2 * time.Second
	linkHoldTime = 8 * time.Second  // what everybody shows for a moment after an outage
	openHoldTime = 15 * time.Second // a camera that is being opened
)

// condition is how one item of the judgement is known to be, and what it may be by now.
type condition struct {
	kind         Kind
	camera, name string

	state     string        // health and summary, of the last event; "" before the first
	health    status.Health // in it
	since     time.Time     // it has not been healthy
	next      string        // what has not been held for long enough yet; "": nothing
	nextSince time.Time
	seen      bool // in this report
}

// judged are the events of what the judgement has found.
func (c *Comparison) judged(r *status.Report, now time.Time) (all []Event) {
	verdict := r.Judge(now)
	for _, i := range verdict.Items() {
		kind, camera := kindOf(i.ID)
		key := string(kind) + "/" + i.Name
		if c.conditions[key] == nil {
			c.conditions[key] = &condition{kind: kind, camera: camera, name: i.Name}
		}
		if have := c.conditions[key]; kind != "" && !have.seen { // else another one of the same name
			have.seen = true
			all = append(all, have.now(&i, holdTimeOf(&i, r, camera), now)...)
		}
	}
	for key, have := range c.conditions {
		if !have.seen {
			delete(c.conditions, key)
			if have.kind != Camera && have.kind != "" { // what is listed only while it is not healthy
				all = append(all, have.recovered(" is in order", now)...)
			}
		}
		have.seen = false
	}
	return all
}

// kindOf is what an item's events are of, and of which camera. "" is an item whose events
// are derived from more than its health.
func kindOf(id string) (kind Kind, camera string) {
	if camera, ok := strings.CutPrefix(id, "camera-"); ok {
		return Camera, camera
	}
	kinds := map[string]Kind{"redis-server": Redis, "namesake": Name, "unwritable": Directory, "stuck": Hang}
	if strings.HasPrefix(id, "orphaned-") {
		return Orphaned, ""
	}
	return kinds[strings.TrimRight(id, "0123456789")], ""
}

// holdTimeOf is how long an item has to be so. What an agent reports of its camera
// counts at once: it has waited for it already.
func holdTimeOf(i *status.Item, r *status.Report, cam string) time.Duration {
	if i.Health == status.Healthy || len(i.Reasons) == 0 {
		return 0
	}
	switch i.Reasons[0].Code {
	case status.CaptureFailed:
		if a := reported(r, cam); a != nil && a.Capture.State == camera.StateOpening {
			return openHoldTime
		}
		return 0
	case status.LinkDown, status.NoStatus, status.StatusStale, status.OtherProcess, status.NotWritable:
		return linkHoldTime
	default:
		return holdTime
	}
}

// now compares an item with what is known of it.
func (c *condition) now(i *status.Item, hold time.Duration, now time.Time) []Event {
	state := string(i.Health) + " " + i.Summary
	again := hold == openHoldTime && c.health == status.Failed // a camera that is away is opened again and again
	switch {
	case i.Health == status.Unknown || state == c.state || again:
		c.next = ""
		return nil
	case c.next != state:
		c.next, c.nextSince = state, now
	}
	if now.Sub(c.nextSince) < hold {
		return nil
	}
	if i.Health == status.Healthy {
		all := c.recovered(" "+i.Summary, now)
		c.state, c.next, c.health, c.since = state, "", status.Healthy, time.Time{}
		return all
	}
	c.state, c.next, c.health = state, "", i.Health
	if c.since.IsZero() {
		c.since = c.nextSince
	}
	return []Event{{Kind: c.kind, Health: i.Health, Camera: c.camera, Subject: c.subject(), Text: i.Line(), TimeUS: c.nextSince.UnixMicro()}}
}

// recovered is the event that it is healthy again.
func (c *condition) recovered(summary string, now time.Time) []Event {
	if c.since.IsZero() {
		return nil
	}
	lasted := now.Sub(c.since)
	return []Event{{
		Kind: c.kind, Health: status.Healthy, Camera: c.camera, Subject: c.subject(),
		Text: c.name + summary + " again, after " + text.Short(lasted), LastedS: status.Seconds(lasted),
	}}
}

// subject is what its events are about, if the kind does not say it.
func (c *condition) subject() string {
	if c.kind == Camera || c.kind == Redis || c.kind == Hang {
		return ""
	}
	return cmp.Or(c.name, string(c.kind))
}
