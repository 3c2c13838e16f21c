package agent

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit"
	"framekeeper/pkg/camera"
)

func TestBrokenFramesAreLoggedOnceAMinute(t *testing.T) {
	var out testkit.Log
	second := 0
	m := &monitor{log: zerolog.New(&out), health: func() camera.Health { // one broken frame a second, from the second one on
		return camera.Health{Broken: uint64(second), Skipped: 2 * uint64(second), BrokenWhy: "cut short"}
	}}
	now := time.Unix(1e9, 0)
	for ; second < 180; second++ {
		m.checkFrames(now.Add(time.Duration(second) * time.Second))
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || !strings.Contains(lines[1], `"broken":60,"skipped":120,"last_defect":"cut short"`) {
		t.Errorf("got %d lines, want 3, the second of 60 broken frames:\n%s", len(lines), &out)
	}
	m.health = func() camera.Health { return camera.Health{Broken: m.broken, Skipped: 1e6} }
	m.checkFrames(now.Add(time.Hour))
	if strings.Count(out.String(), "\n") != 3 {
		t.Errorf("skipped frames alone were logged:\n%s", &out)
	}
}

func TestMonitorLogsTheDiskAndTheClockOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, began, changes := &testkit.Log{}, time.Now(), 0
		m := &monitor{
			log: zerolog.New(log), changed: func() { changes++ },
			health: func() camera.Health { return camera.Health{} },
			resync: func(time.Duration) (time.Duration, bool) {
				return time.Hour, time.Since(began).Round(time.Second) == 2*time.Second
			},
			hanging: func() time.Duration { // from the third second on, for a minute
				if since := time.Since(began); since > 3*time.Second && since < time.Minute {
					return since
				}
				return 0
			},
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		_ = m.run(ctx)
		want := "The wall clock was set; frame times follow it; " +
			"The spool's disk does not answer; unsent frames stay in memory, within retain_bytes; The spool's disk answers again"
		if got := strings.Join(log.Messages(), "; "); got != want || changes != 3 {
			t.Errorf("got %d changes and %s, want 3 and %s", changes, got, want)
		}
	})
}
