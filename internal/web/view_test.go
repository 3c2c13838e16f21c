package web

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"framekeeper/internal/status"
)

// What the page shows is the verdict; here only what it adds.
func TestView(t *testing.T) {
	now := time.Date(2026, 11, 27, 20, 45, 0, 0, time.Local)
	report := good()
	report.Reload = &status.Reload{Refused: true, AgoS: 240, Problem: "config.toml:3: redis.nonsense: unknown key"}
	report.Orphaned = []status.OrphanedSpool{{Camera: "gone", Frames: 1}}
	v := report.view(now, true)
	if v.Verdict != "Degraded" || len(v.Problems) != 2 || len(v.Controller) != 1 || len(v.Redis) != 1 || len(v.Cameras) != 2 {
		t.Fatalf("got %+v", v)
	}
	c := v.Controller[0]
	if c.Notes[0] != "tried 4 min ago" || c.Todo() != "Correct it and reload: until then the old configuration stays in force, but a restarted controller may refuse this file." {
		t.Errorf("got %+v, %q", c, c.Todo())
	}
	report.Agents[0].State = status.ProcessStopped
	if c := report.view(now, true).Cameras[0]; c.Todo() != "To start it again: " || c.Command != "client control --box box1 start cam1" || c.Figures[1].Name != "for" {
		t.Errorf("got %+v, %q", c, c.Todo())
	}
}

// What a hanging agent has counted last does not stand there as if it were counted now.
func TestFiguresOfAHangingAgent(t *testing.T) {
	report, now, fps := good(), time.Now(), 29.9
	sample := report.Telemetry.Agents["cam1"]
	sample.FPS = &fps
	report.Telemetry.Agents["cam1"] = sample
	if got := fmt.Sprint(report.cameraFigures("cam1", now)); !strings.Contains(got, "{frames/s 29.9}") || strings.Contains(got, "sign of life") {
		t.Errorf("of one that goes on: got %s", got)
	}
	report.Agents[0].Silent = now.Add(-12 * time.Second)
	if got := fmt.Sprint(report.cameraFigures("cam1", now)); strings.Contains(got, "frames/s") || strings.Contains(got, "link") || !strings.Contains(got, "{last sign of life 12 s ago}") {
		t.Errorf("of one that hangs: got %s", got)
	}
}
