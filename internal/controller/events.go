package controller

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/cli"
	"framekeeper/internal/events"
	"framekeeper/internal/status"
	"framekeeper/internal/web"
)

// compareInterval is how often the box is compared with how it was.
const compareInterval = 500 * time.Millisecond

// eventsName is the file of the events in state_dir.
const eventsName = "events.jsonl"

// historian notes what happens to the box.
type historian struct {
	log        *events.Log
	report     func() web.Report
	comparison events.Comparison
	notify     func(events.Event)
}

// newHistorian has the events of earlier starts. Without a lock state_dir cannot be
// written, which was logged.
func newHistorian(stateDir string, lock *os.File, notify func(events.Event), log func() *zerolog.Logger) *historian {
	file := filepath.Join(stateDir, eventsName)
	if lock == nil {
		file = ""
	}
	return &historian{log: events.NewLog(file, log), notify: notify}
}

// run compares until ctx ends.
func (h *historian) run(ctx context.Context) error {
	e := events.Event{Kind: events.Start, Health: status.Healthy, Text: "Controller " + cli.Version() + " started"}
	if last := h.log.Last(); last != nil && last.Kind != events.Stop {
		e.Health = status.Degraded
		e.Text += "; the one before did not end in order: it was killed, has crashed, or the power was cut"
	}
	h.add(e, time.Now())
	tick := time.NewTicker(compareInterval)
	defer tick.Stop()
	for {
		report, now := h.report(), time.Now()
		for _, e := range h.comparison.Next(&report.Report, now) {
			h.add(e, now)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (h *historian) add(e events.Event, now time.Time) {
	if e.TimeUS == 0 {
		e.TimeUS = now.UnixMicro()
	}
	h.notify(h.log.Add(e))
}

// save writes the file until ctx ends.
func (h *historian) save(ctx context.Context) error {
	untilEnd(ctx, func() { h.log.Run(ctx) })
	return nil
}

// stop notes that the controller ends, as its last act; failed is why, nil in order.
func (h *historian) stop(ctx context.Context, failed error) {
	e := events.Event{Kind: events.Stop, Health: status.Healthy, Text: "Controller stopped"}
	if failed != nil {
		e.Health, e.Text = status.Failed, e.Text+": "+failed.Error()
	}
	h.add(e, time.Now())
	untilEnd(ctx, h.log.Save)
}
