package agent

import (
	"strings"
	"testing"
	"time"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/frame"
)

// A Redis that takes no frame of this size: every request is answered with an error
// in time, the frames are declared, and the link stays LIVE.
func TestFramesThatRedisNeverAccepts(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t, redistest.WithConfig("proto-max-bulk-len", "1048576"))
	config := writeConfig(t, server.URL(), "", "source = \"test:\"\nwidth = 1280\nheight = 720\nfps = 10\nencoding = \"raw\"\nstatus_interval = \"1s\"")
	_, log := startAgent(t, config)
	a := newAsker(t, server.URL())
	awaitOwn(t, server)
	lines := func() int { return strings.Count(log.String(), "\n") }
	before := lines()
	reason, took := a.refused(t, map[string]any{"id": "first", "angle": 25})
	if !strings.Contains(reason, "does not accept a message of 27") || took > 5*time.Second {
		t.Errorf("the asker got %q after %s, want the size within 5s", reason, took)
	}
	if n := len(a.messages()); n == 0 || !strings.Contains(string(a.messages()[n-1].Header.Request), `"angle":25`) {
		t.Errorf("the request is not echoed: %+v", a.messages())
	}
	a.refused(t, map[string]any{"id": "first", "angle": 25}) // so is a repeat, without a new frame
	outages := awaitOwn(t, server).Link.Outages
	t.Logf("answered after %s, %d outages, %d log lines", took.Round(time.Millisecond), outages, lines()-before)
	for range 10 {
		if _, took := a.refused(t, map[string]any{"angle": 26}); took > 2*time.Second {
			t.Errorf("a later request was answered after %s", took)
		}
	}
	declared := func() (n uint64) {
		for _, m := range all(t, server.Client()) {
			if m.Header.Status == frame.StatusDropped && strings.Contains(m.Header.Reason, "does not accept a message of 27") {
				n += m.Header.Count
			}
		}
		return n
	}
	testkit.Eventually(t, "every answer's frame is declared", func() bool { return declared() >= 11 })
	_, families := scrape(t, config)
	if n := value(t, families, "frames_lost_total", "reason=too_large"); n != 11 {
		t.Errorf("frames_lost_total{reason=too_large} is %v, want 11", n)
	}
	if n := awaitOwn(t, server).Link.Outages; n != outages {
		t.Errorf("%d outages after the ceiling was known", n-outages)
	}
	if n := lines() - before; n > 10 {
		t.Errorf("%d log lines, want 10 at most:\n%s", n, log)
	}
}
