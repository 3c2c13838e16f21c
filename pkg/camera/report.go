package camera

import (
	"fmt"
	"strings"
	"time"
)

// Overdue is for how long Run's goroutine has not done what it was to do by
// then. It watches the source, so while it keeps time, either new frames arrive
// or the source is being opened, closed or waited for; once it does not, nobody
// knows, and only a fresh process helps.
func (g *Grabber) Overdue() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.due.IsZero() {
		return 0
	}
	return max(0, time.Since(g.due))
}

// expect says that Run's goroutine acts again within d.
func (g *Grabber) expect(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.due = time.Now().Add(d)
}

// describe turns an error into a reason for people. Sources are asked not to
// name credentials; should one quote the source string whole, it goes here.
func (g *Grabber) describe(err error) string {
	if g.cfg.Source == "" {
		return err.Error()
	}
	return strings.ReplaceAll(err.Error(), g.cfg.Source, ShownSource(g.cfg.Source))
}

// setState changes state and reason, and tells whoever listens.
func (g *Grabber) setState(s State, reason string) {
	g.mu.Lock()
	changed := g.health.State != s || g.health.Reason != reason
	g.health.State, g.health.Reason = s, reason
	g.mu.Unlock()
	if changed {
		notify(g.changed)
	}
}

// retrying is called between two lives of the source. The log has the first
// failure in full and then the recovery; what lies between is counted. Of a
// camera that comes and goes it has ever fewer.
func (g *Grabber) retrying(attempt, flaps int, err error) {
	g.mu.Lock()
	g.health.Reopens++
	if g.downFrom.IsZero() {
		g.downFrom = time.Now()
	}
	if attempt == 1 {
		g.loud = flaps&(flaps-1) == 0
	}
	loud := attempt == 1 && g.loud
	g.mu.Unlock()
	reason := g.describe(err)
	if loud {
		h := g.Health()
		e := g.log.Warn().Str("cause", reason).Int("max_reopens", g.cfg.MaxReopens).
			Uint64("stalls", h.Stalls).Uint64("reopens", h.Reopens).Uint64("skipped", h.Skipped).Uint64("broken", h.Broken)
		if flaps > 1 {
			e = e.Int("times_in_a_row", flaps)
		}
		e.Msg("Camera lost, reopening it")
	}
	g.setState(StateRetrying, fmt.Sprintf("%s; reopening it, attempt %d of %d", reason, attempt, g.cfg.MaxReopens))
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // the consumer has yet to see the last one
	}
}
