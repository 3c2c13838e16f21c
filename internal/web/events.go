package web

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"framekeeper/internal/events"
	"framekeeper/internal/text"
)

// Events are those from that time on, newest first, at most so many.
type Events func(since time.Time, limit int) []events.Event

const (
	// shownEvents are on the page, the newest of them without being asked for.
	shownEvents, newestEvents = 60, 10
	// defaultEvents and maxEvents are how many /api/v1/events answers with.
	defaultEvents, maxEvents = 100, 1000
)

// eventsAnswer is the JSON of /api/v1/events.
type eventsAnswer struct {
	Box    string         `json:"box"`
	Events []events.Event `json:"events"` // newest first
}

// eventsHandler answers with events as JSON.
func eventsHandler(cfg *Config) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		since, limit, err := eventsQuery(r, time.Now())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		report := cfg.Report()
		answer(w, cfg.Log, true, eventsAnswer{report.Box, cfg.Events(since, limit)})
	}
}

// eventsQuery reads since, a time or how long ago, and limit.
func eventsQuery(r *http.Request, now time.Time) (since time.Time, limit int, err error) {
	q := r.URL.Query()
	for name := range q {
		if name != "since" && name != "limit" {
			return since, 0, fmt.Errorf("unknown parameter %.40q: there are since and limit", name)
		}
	}
	if given := q.Get("since"); given != "" {
		if since, err = events.ParseSince(given, now); err != nil {
			return since, 0, fmt.Errorf("since=%w", err)
		}
	}
	limit = defaultEvents
	if given := q.Get("limit"); given != "" {
		if limit, err = strconv.Atoi(given); err != nil || limit < 1 || limit > maxEvents {
			return since, 0, fmt.Errorf("limit=%.20q: expected 1 to %d", given, maxEvents)
		}
	}
	return since, limit, nil
}

// timeline is the events as the page shows them.
type timeline struct{ Newest, Older []moment }

// moment is one event of the page.
type moment struct {
	events.Event
	Note string // how often, if not once
}

func newTimeline(list Events, now time.Time) timeline {
	if list == nil {
		return timeline{}
	}
	var all []moment
	for _, e := range list(time.Time{}, shownEvents) {
		m := moment{Event: e}
		if n := e.Times(); n > 1 {
			m.Note = text.Count(n, "time") + " since " + clock(e.First(), now)
		}
		all = append(all, m)
	}
	n := min(len(all), newestEvents)
	return timeline{all[:n], all[n:]}
}

// When is the time for people, Datetime for machines.
func (m moment) When() string     { return clock(m.Time(), time.Now()) }
func (m moment) Datetime() string { return m.Time().Format(time.RFC3339) }

// clock is a time of day, with its date if it is not of today.
func clock(t, now time.Time) string {
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}
