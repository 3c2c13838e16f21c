package agent

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/sdnotify"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
)

// fakeManager has a watchdog timeout and collects notifications.
type fakeManager struct {
	timeout time.Duration
	sent    [][]string
}

func (m *fakeManager) Watchdog() time.Duration { return m.timeout }
func (m *fakeManager) Send(messages ...string) error {
	m.sent = append(m.sent, messages)
	return nil
}

// count counts notifications with this message.
func (m *fakeManager) count(message string) (n int) {
	for _, messages := range m.sent {
		if slices.Contains(messages, message) {
			n++
		}
	}
	return n
}

// fakeCamera is in the state that the test sets.
type fakeCamera struct {
	health camera.Health
	hung   time.Duration
}

func (c *fakeCamera) Health() camera.Health { return c.health }
func (c *fakeCamera) Hung() time.Duration   { return c.hung }

// fakeLoop turns once for each wake-up, unless it hangs.
type fakeLoop struct {
	turns       uint64
	hung, ended bool
}

func (l *fakeLoop) Turns() (uint64, bool) { return l.turns, l.ended }
func (l *fakeLoop) Wake() {
	if !l.hung {
		l.turns++
	}
}

func heartbeatOf(timeout time.Duration, state camera.State) (*heartbeat, *fakeManager, *fakeCamera, *fakeLoop) {
	m, c, l := &fakeManager{timeout: timeout}, &fakeCamera{health: camera.Health{State: state}}, &fakeLoop{turns: 1}
	h := newHeartbeat(m, c, func() datatransfer.State { return datatransfer.Live }, l, zerolog.Nop())
	return h, m, c, l
}

// beatFor lets h beat ten times a second.
func beatFor(h *heartbeat, from time.Time, d time.Duration) (to time.Time) {
	for to = from; to.Before(from.Add(d)); to = to.Add(beatCheck) {
		h.beat(to)
	}
	return to
}

func TestHeartbeatComesOftenEnoughForTheWatchdog(t *testing.T) {
	for timeout, interval := range map[time.Duration]time.Duration{
		0:               defaultBeat,
		2 * time.Second: 500 * time.Millisecond,
		time.Minute:     time.Second, // the controller sees sooner than its watchdog that one is silent
	} {
		h, m, _, _ := heartbeatOf(timeout, camera.StateOK)
		beatFor(h, time.Unix(1e9, 0), 10*interval)
		if got := m.count(sdnotify.Watchdog); got != 10 || len(m.sent) != got {
			t.Errorf("watchdog of %v: got %d heartbeats in %v, want 10: %q", timeout, got, 10*interval, m.sent)
		}
	}
}

// A process in which something hangs sends no heartbeat, and one in which it moves
// again does.
func TestHeartbeatStopsWhenSomethingHangs(t *testing.T) {
	for name, hang := range map[string]func(*fakeCamera, *fakeLoop, bool){
		"the loop":   func(_ *fakeCamera, l *fakeLoop, hung bool) { l.hung = hung },
		"the camera": func(c *fakeCamera, _ *fakeLoop, hung bool) { c.hung = map[bool]time.Duration{true: time.Hour}[hung] },
	} {
		t.Run(name, func(t *testing.T) {
			h, m, c, l := heartbeatOf(2*time.Second, camera.StateOK)
			now := beatFor(h, time.Unix(1e9, 0), time.Second)
			hang(c, l, true)
			now = beatFor(h, now, time.Second) // one may be due for a turn before
			m.sent = nil
			now = beatFor(h, now, 10*time.Second)
			if len(m.sent) > 0 {
				t.Errorf("it sent %q", m.sent)
			}
			hang(c, l, false)
			if beatFor(h, now, time.Second); m.count(sdnotify.Watchdog) == 0 {
				t.Error("no heartbeat after it moves again")
			}
		})
	}
}

// The loop that has served its last frame does not turn any more.
func TestHeartbeatGoesOnWhileAnEndedAgentSends(t *testing.T) {
	h, m, _, l := heartbeatOf(2*time.Second, camera.StateOK)
	l.hung, l.ended = true, true
	if beatFor(h, time.Unix(1e9, 0), time.Second); m.count(sdnotify.Watchdog) != 2 {
		t.Errorf("got %q, want two heartbeats", m.sent)
	}
}

func TestHeartbeatSendsAChangeAtOnce(t *testing.T) {
	h, m, c, _ := heartbeatOf(0, camera.StateOK)
	now := time.Unix(1e9, 0)
	h.beat(now)
	c.health = camera.Health{State: camera.StateStalled, Reason: "no frames\nfor 3s", Frames: 7}
	h.beat(now.Add(beatCheck))
	want := []string{"X_FRAMEKEEPER_FRAMES=7", "STATUS=camera stalled, link LIVE: no frames for 3s", sdnotify.Ready}
	if len(m.sent) != 2 || !slices.Equal(m.sent[1], want) {
		t.Errorf("got %q, want the second to be %q", m.sent, want)
	}
}

// A restart or reload that ends in a camera which this agent cannot open at all
// must not look like a success.
func TestHeartbeatIsNeverReadyWithoutACamera(t *testing.T) {
	for name, c := range map[string]struct {
		after camera.Health
		ready bool
	}{
		"never opened":     {camera.Health{State: camera.StateEnded}, false},
		"a file at an end": {camera.Health{State: camera.StateEnded, Frames: 3}, true},
		"tried again":      {camera.Health{State: camera.StateRetrying}, true},
	} {
		h, _, cam, _ := heartbeatOf(0, camera.StateOpening)
		if slices.Contains(h.state(), sdnotify.Ready) {
			t.Errorf("%s: ready before the camera was opened", name)
		}
		cam.health = c.after
		if got := h.state(); slices.Contains(got, sdnotify.Ready) != c.ready {
			t.Errorf("%s: got %q, want ready to be %v", name, got, c.ready)
		}
	}
}

func TestHeartbeatReportsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, m, _, _ := heartbeatOf(2*time.Second, camera.StateOK)
		ctx, cancel := context.WithTimeout(t.Context(), 1900*time.Millisecond)
		defer cancel()
		if err := h.run(ctx); err != nil {
			t.Fatal(err)
		}
		if last := strings.Join(m.sent[len(m.sent)-1], " "); m.count(sdnotify.Watchdog) != 4 || !strings.HasSuffix(last, sdnotify.Stopping) {
			t.Errorf("got %q, want four heartbeats and the end", m.sent)
		}
	})
}
