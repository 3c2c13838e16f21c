package events

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"framekeeper/internal/status"
	"framekeeper/internal/text"
)

// lossInterval is how often the losses of a camera are an event, at most.
const lossInterval = time.Minute

// youngAgent is how old an agent may be, in seconds, for all its losses to be news.
const youngAgent = 30

// reasons are the words of outbox.LossKinds for people.
var reasons = map[string]string{
	"damaged":     "damaged on disk",
	"disk_error":  "the disk refused them",
	"disk_full":   "the disk was full",
	"memory_full": "memory was full (retain_bytes)",
	"redis_lost":  "Redis lost them",
	"restart":     "not on disk after a restart",
	"spool_age":   "older than spool_max_age",
	"spool_full":  "the spool was full (spool_max_bytes)",
	"too_large":   "larger than Redis accepts",
	"unheard":     "nobody was subscribed",
}

// lossCount counts the frames that one camera has lost.
type lossCount struct {
	instance  string            // of the agent; "": none was seen
	counted   map[string]uint64 // by it, as last seen
	news      map[string]uint64 // that was no event yet
	lastEvent time.Time         // of the last event
}

// lost are the events of losses.
func (c *Comparison) lost(r *status.Report, now time.Time) (all []Event) {
	for i := range r.Agents {
		name := r.Agents[i].Name
		have := c.agents[name]
		if have == nil {
			have = &lossCount{news: map[string]uint64{}}
			c.agents[name] = have
		}
		if a := reported(r, name); a != nil {
			for reason, n := range have.count(a) {
				if c.outage != nil {
					c.outage.lost[reason] += n
				}
			}
		}
		n := total(have.news)
		if n == 0 || now.Sub(have.lastEvent) < lossInterval {
			continue
		}
		have.lastEvent = now
		all = append(all, Event{
			Kind: Loss, Health: status.Degraded, Camera: name, Lost: n,
			Text: fmt.Sprintf("%s: %s lost, and declared: %s", name, text.Count(int(n), "frame"), whyLost(have.news)), //nolint:gosec // a count of frames
		})
		clear(have.news)
	}
	return all
}

// count takes an agent's counters, and returns what is new in them.
func (l *lossCount) count(a *status.Agent) map[string]uint64 {
	base := l.counted
	if l.instance != a.Instance {
		base = nil
		if l.instance == "" && a.UptimeS > youngAgent {
			base = a.Lost // it was so before anybody looked
		}
	}
	fresh := map[string]uint64{}
	for reason, n := range a.Lost {
		if n > base[reason] {
			fresh[reason] = n - base[reason]
			l.news[reason] += fresh[reason]
		}
	}
	l.instance, l.counted = a.Instance, a.Lost
	return fresh
}

func total(lost map[string]uint64) (n uint64) {
	for _, one := range lost {
		n += one
	}
	return n
}

// whyLost names the reasons, that of most frames first.
func whyLost(lost map[string]uint64) string {
	var all []string
	for _, reason := range slices.SortedFunc(maps.Keys(lost), func(a, b string) int {
		return cmp.Or(cmp.Compare(lost[b], lost[a]), cmp.Compare(a, b))
	}) {
		words := cmp.Or(reasons[reason], reason)
		if len(lost) > 1 {
			words = fmt.Sprintf("%d %s", lost[reason], words)
		}
		all = append(all, words)
	}
	return strings.Join(all, ", ")
}
