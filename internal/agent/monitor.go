package agent

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/camera"
)

const (
	clockTolerance = 500 * time.Millisecond
	defectInterval = time.Minute
)

// monitor logs what happens beside the way of a frame: broken frames, a disk that
// hangs, and steps of the wall clock. A box without a battery boots in 1970 and
// gets the time later; the frames' times follow, timeouts and IDs do not depend on
// it.
type monitor struct {
	health  func() camera.Health
	resync  func(tolerance time.Duration) (step time.Duration, moved bool)
	hanging func() time.Duration // of the spool's disk; 0: it answers
	dir     string               // spool_dir
	changed func()               // is called when the status is to be shown
	log     zerolog.Logger

	broken, skipped uint64    // frames logged so far
	next            time.Time // no line about frames before
	hung            bool      // logged
}

func (m *monitor) run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			m.checkFrames(now)
			m.checkClock()
			m.checkDisk()
		case <-ctx.Done():
			return nil
		}
	}
}

// checkFrames logs broken frames, at most once a minute. Skipped ones alone are
// not worth a line: a busy box skips some.
func (m *monitor) checkFrames(now time.Time) {
	h := m.health()
	if h.Broken == m.broken || now.Before(m.next) {
		return
	}
	m.log.Warn().Uint64("broken", h.Broken-m.broken).Uint64("skipped", h.Skipped-m.skipped).Str("last_defect", h.BrokenWhy).
		Msg("The camera's frames arrive broken and are discarded")
	m.broken, m.skipped, m.next = h.Broken, h.Skipped, now.Add(defectInterval)
}

func (m *monitor) checkClock() {
	if step, moved := m.resync(clockTolerance); moved {
		m.log.Warn().Int64("step_ms", step.Milliseconds()).Msg("The wall clock was set; frame times follow it")
		m.changed() // Redis has let the status before expire
	}
}

// checkDisk logs once that the spool's disk hangs, and that it answers again.
func (m *monitor) checkDisk() {
	since := m.hanging()
	if (since > 0) == m.hung {
		return
	}
	if m.hung = since > 0; m.hung {
		m.log.Error().Int64("for_ms", since.Milliseconds()).Str("spool_dir", m.dir).
			Msg("The spool's disk does not answer; unsent frames stay in memory, within retain_bytes")
	} else {
		m.log.Info().Msg("The spool's disk answers again")
	}
	m.changed()
}
