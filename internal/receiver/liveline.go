package receiver

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/datatransfer"
)

const (
	tickInterval = 250 * time.Millisecond
	redrawEvery  = 2  // ticks, on a terminal
	lineEvery    = 20 // ticks, elsewhere
	stoppedAfter = 2 * time.Second
)

// Screen is where the live line is shown.
type Screen interface {
	InPlace() bool // the line can be rewritten, and so should be often
	Show(line string)
}

// display shows the live line and logs when frames stop, until ctx ends.
func (r *Receiver) display(ctx context.Context, s Screen) {
	every := lineEvery
	if s.InPlace() {
		every = redrawEvery
	}
	watches := make([]frameWatch, len(r.cameras))
	for i, c := range r.cameras {
		watches[i] = frameWatch{counts: c.counts, log: c.log, changed: r.began}
	}
	recent := &window{samples: []sample{r.sample(r.began)}}
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for i := range watches {
				watches[i].check(now)
			}
			if n%every == 0 {
				s.Show(recent.line(r, now))
			}
		}
	}
}

// frameWatch logs that a camera's frames stop, and that they come again.
type frameWatch struct {
	counts  *counts
	log     zerolog.Logger
	frames  uint64
	changed time.Time
	stopped bool
}

func (w *frameWatch) check(now time.Time) {
	if n := w.counts.n[frames].Load(); n != w.frames {
		if w.stopped && w.frames > 0 {
			w.log.Info().Int64("lasted_ms", now.Sub(w.changed).Milliseconds()).Msg("Frames arrive again")
		} else if w.stopped {
			w.log.Info().Int64("waited_ms", now.Sub(w.changed).Milliseconds()).Msg("The first frame has arrived")
		}
		w.frames, w.changed, w.stopped = n, now, false
		return
	}
	if !w.stopped && now.Sub(w.changed) > stoppedAfter {
		w.stopped = true
		if w.frames == 0 { // there was no rate to drop from
			w.log.Warn().Int64("waited_ms", now.Sub(w.changed).Milliseconds()).Msg("No frame has arrived yet")
			return
		}
		w.log.Warn().Int64("last_frame_ago_ms", now.Sub(w.changed).Milliseconds()).Msg("FPS dropped to 0")
	}
}

// window turns growing counters into what happened lately.
type window struct {
	samples []sample // oldest first, at most windowSamples
}

// windowSamples is how many redraws on a terminal the figures reach back.
const windowSamples = 4

type sample struct {
	at      time.Time
	frames  []uint64 // of each camera
	latency distribution
}

func (r *Receiver) sample(at time.Time) sample {
	s := sample{at: at}
	for _, c := range r.cameras {
		s.frames = append(s.frames, c.counts.n[frames].Load())
		d := c.counts.latency.snapshot()
		s.latency.merge(&d)
	}
	return s
}

// line is the live line: the figures since the oldest sample, and totals.
func (w *window) line(r *Receiver, now time.Time) string {
	s := r.sample(now)
	old := w.samples[0]
	if w.samples = append(w.samples, s); len(w.samples) > windowSamples {
		w.samples = w.samples[1:]
	}
	var b strings.Builder
	seconds := max(now.Sub(old.at).Seconds(), 0.001)
	for i, c := range r.cameras {
		fmt.Fprintf(&b, "%s %.1f fps  ", c.name, float64(s.frames[i]-old.frames[i])/seconds)
	}
	if d := s.latency.since(&old.latency); d.n > 0 {
		fmt.Fprintf(&b, "latency p50 %s p99 %s  ", latency(d.quantile(0.5)), latency(d.quantile(0.99)))
	}
	t, st := r.totals(), r.link.Status()
	fmt.Fprintf(&b, "stored %d  errors %d  link %s", t.n[stored], t.troubles(), st.State)
	if st.State != datatransfer.Live && st.Cause != "" {
		fmt.Fprintf(&b, " (%s)", st.Cause)
	}
	return b.String()
}
