package events

import (
	"maps"
	"slices"
	"strings"
	"time"

	"framekeeper/internal/status"
	"framekeeper/internal/text"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
)

const (
	// settleTime is how long after an outage the cameras' accounts of it are waited for.
	settleTime = 30 * time.Second
	// firstLinkTime is how long a program may take to its first link.
	firstLinkTime = 5 * time.Second
)

// outage is one of the reader's link, until what came of it is known.
type outage struct {
	since     time.Time
	over      time.Time           // zero: it goes on
	announced bool                // an event says that it began, or none has to
	cameras   map[string]*backlog // by name; of those that have reported
	lost      map[string]uint64   // frames, by reason
}

// backlog is what waited in one camera's agent.
type backlog struct {
	agent     *status.Agent // as last reported
	target    frame.ID      // the newest that had to wait
	fresh     bool          // agent is from after the outage
	settled   bool          // Redis has all of it
	restarted bool          // meanwhile
	waited    int           // frames, at most
	onDisk    int           // of them
	bytes     int64         // of those on disk
}

// outageBegan notices that the link is not LIVE, or was not between the reports. One
// that the link's first attempts take is none.
func (c *Comparison) outageBegan(r *status.Report, now time.Time) (all []Event) {
	short := r.Link.Live && c.last != nil && c.last.Link.Live && r.Link.Outages > c.last.Link.Outages
	if c.outage == nil && (short || !r.Link.Live) {
		c.outage = newOutage(c.last, r.Link.Since)
		c.outage.announced = short // its end says it all
		if last := r.Link.LastOutage; short && last != nil {
			c.outage.since = r.Link.Since.Add(-time.Duration(last.LastedS * float64(time.Second)))
		}
	}
	switch o := c.outage; {
	case o == nil:
	case r.Link.Live:
		o.over = r.Link.Since
	default:
		o.over = time.Time{}
		if !o.announced && (r.Link.Outages > 0 || now.Sub(o.since) >= firstLinkTime) {
			o.announced = true
			all = []Event{{Kind: Outage, Health: status.Failed, Text: "Redis is away" + colon(r.Link.Cause), TimeUS: o.since.UnixMicro()}}
		}
	}
	return all
}

func newOutage(before *status.Report, since time.Time) *outage {
	o := &outage{since: since, cameras: map[string]*backlog{}, lost: map[string]uint64{}}
	if before != nil {
		for _, p := range before.Agents {
			if a := reported(before, p.Name); a != nil {
				o.cameras[p.Name] = &backlog{agent: a, target: a.Outbox.Newest}
			}
		}
	}
	return o
}

// outageEnded accounts for an outage that is over.
func (c *Comparison) outageEnded(r *status.Report, now time.Time) []Event {
	o := c.outage
	if o == nil {
		return nil
	}
	o.look(r)
	if o.over.IsZero() || o.announced && !o.settled() && now.Sub(o.over) < settleTime {
		return nil
	}
	c.outage = nil
	if !o.announced {
		return nil
	}
	return []Event{o.account()}
}

// look takes what the agents report.
func (o *outage) look(r *status.Report) {
	for i := range r.Agents {
		name := r.Agents[i].Name
		a, b := reported(r, name), o.cameras[name]
		switch {
		case a == nil && b != nil:
			b.fresh = false
		case a != nil && b == nil:
			o.cameras[name] = &backlog{agent: a}
			fallthrough
		case a != nil:
			o.cameras[name].look(a, !o.over.IsZero())
		}
	}
	maps.DeleteFunc(o.cameras, func(name string, _ *backlog) bool { return process(r, name) == nil })
}

// look takes what the agent reports. What it has reported before the link was back says
// nothing of what Redis has.
func (b *backlog) look(a *status.Agent, over bool) {
	switch {
	case !over:
		b.target, b.fresh, b.settled = a.Outbox.Newest, false, false
	case a.TimeUS != b.agent.TimeUS && a.Link.State == datatransfer.Live.String():
		b.fresh, b.settled = true, a.Outbox.Unsent == 0 || !a.Outbox.Durable.Less(b.target)
	}
	b.restarted = b.restarted || a.Instance != b.agent.Instance
	b.agent = a
	if !over {
		b.waited = max(b.waited, a.Outbox.Unsent)
		if s := a.Spool; s != nil && s.Frames >= b.onDisk {
			b.onDisk, b.bytes = s.Frames, s.Bytes
		}
	}
}

func (o *outage) settled() bool {
	for _, b := range o.cameras {
		if !b.settled {
			return false
		}
	}
	return true
}

// account is the event of its end: what waited, and what came of it.
func (o *outage) account() Event {
	lasted := o.over.Sub(o.since)
	e := Event{Kind: Outage, Health: status.Healthy, TimeUS: o.over.UnixMicro(), LastedS: status.Seconds(lasted), Lost: total(o.lost)}
	var waits int
	var unknown, restarted []string
	for _, name := range slices.Sorted(maps.Keys(o.cameras)) {
		b := o.cameras[name]
		e.Waited, e.OnDisk, e.OnDiskBytes = e.Waited+b.waited, e.OnDisk+min(b.onDisk, b.waited), e.OnDiskBytes+b.bytes
		switch {
		case b.restarted:
			restarted = append(restarted, name)
		case b.settled:
		case b.fresh:
			waits += b.agent.Outbox.Unsent
		default:
			unknown = append(unknown, name)
		}
	}
	parts := []string{"Redis was away for " + text.Short(lasted)}
	if e.Waited > 0 {
		parts = append(parts, "at least "+status.Waiting("waited", e.Waited, e.OnDisk, e.OnDiskBytes))
	}
	if waits > 0 {
		parts = append(parts, text.Count(waits, "frame")+" still to be sent")
	}
	if len(unknown) > 0 {
		parts = append(parts, "not known yet of "+strings.Join(unknown, ", "))
	}
	if len(restarted) > 0 {
		parts = append(parts, "what only the memory of an agent had is lost with its process: "+strings.Join(restarted, ", "))
	}
	switch {
	case e.Lost > 0:
		parts = append(parts, text.Count(int(e.Lost), "frame")+" lost, and declared: "+whyLost(o.lost)) //nolint:gosec // a count of frames
	case waits > 0 && len(unknown)+len(restarted) == 0:
		parts = append(parts, "nothing lost so far")
	case len(unknown)+len(restarted) == 0:
		parts = append(parts, "nothing lost")
	}
	if e.Lost > 0 || len(restarted) > 0 {
		e.Health = status.Degraded
	}
	e.Text = strings.Join(parts, "; ")
	return e
}
