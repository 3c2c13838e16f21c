package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/camera"
)

func TestBrokenFramesAreToldOnceAMinute(t *testing.T) {
	var out syncBuffer
	log := zerolog.New(&out)
	var f flaws
	now := time.Unix(1e9, 0)
	for second := range 180 { // one broken frame a second, from the second one on
		f.report(camera.Health{Broken: uint64(second), Skipped: 2 * uint64(second), BrokenWhy: "cut short"}, now.Add(time.Duration(second)*time.Second), log)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || !strings.Contains(lines[1], `"broken":60,"skipped":120,"last_defect":"cut short"`) {
		t.Errorf("got %d lines, want 3, the second of 60 broken frames:\n%s", len(lines), &out)
	}
	f.report(camera.Health{Broken: f.broken, Skipped: 1e6}, now.Add(time.Hour), log)
	if strings.Count(out.String(), "\n") != 3 {
		t.Errorf("skipped frames alone were told:\n%s", &out)
	}
}
