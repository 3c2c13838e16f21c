package client

import (
	"context"
	"fmt"
	"strings"
	"time"

	"framekeeper/pkg/datatransfer"
)

const (
	tickEvery   = 250 * time.Millisecond
	redrawEvery = 2  // ticks, on a terminal
	lineEvery   = 20 // ticks, elsewhere
	stoppedFor  = 2 * time.Second
)

// display shows the live line and notices frames that stop, until ctx ends.
func (r *runner) display(ctx context.Context, s *screen) {
	every := lineEvery
	if s.inPlace() {
		every = redrawEvery
	}
	watches := make([]frameWatch, len(r.feeds))
	for i, f := range r.feeds {
		watches[i] = frameWatch{feed: f, changed: r.began}
	}
	recent := newWindow(r)
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for i := range watches {
				watches[i].look(now)
			}
			if n%every == 0 {
				s.show(recent.line(r, now))
			}
		}
	}
}

// frameWatch notices that a camera's frames stop, and that they come again.
type frameWatch struct {
	feed    *feed
	frames  uint64
	changed time.Time
	stopped bool
}

func (w *frameWatch) look(now time.Time) {
	if n := w.feed.counts.frames.Load(); n != w.frames {
		if w.stopped && w.frames > 0 {
			w.feed.log.Info().Int64("lasted_ms", now.Sub(w.changed).Milliseconds()).Msg("Frames arrive again")
		} else if w.stopped {
			w.feed.log.Info().Int64("waited_ms", now.Sub(w.changed).Milliseconds()).Msg("The first frame has arrived")
		}
		w.frames, w.changed, w.stopped = n, now, false
		return
	}
	if !w.stopped && now.Sub(w.changed) > stoppedFor {
		w.stopped = true
		if w.frames == 0 { // there was no rate to drop from
			w.feed.log.Warn().Int64("waited_ms", now.Sub(w.changed).Milliseconds()).Msg("No frame has arrived yet")
			return
		}
		w.feed.log.Warn().Int64("last_frame_ago_ms", now.Sub(w.changed).Milliseconds()).Msg("FPS dropped to 0")
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
	frames  []uint64 // of each feed
	latency distribution
}

func newWindow(r *runner) *window { return &window{samples: []sample{r.sample(r.began)}} }

func (r *runner) sample(at time.Time) sample {
	s := sample{at: at}
	for _, f := range r.feeds {
		s.frames = append(s.frames, f.counts.frames.Load())
		d := f.latency.snapshot()
		s.latency.merge(&d)
	}
	return s
}

// line is the live line: the figures since the oldest sample, and totals.
func (w *window) line(r *runner, now time.Time) string {
	s := r.sample(now)
	old := w.samples[0]
	if w.samples = append(w.samples, s); len(w.samples) > windowSamples {
		w.samples = w.samples[1:]
	}
	var b strings.Builder
	seconds := max(now.Sub(old.at).Seconds(), 0.001)
	for i, f := range r.feeds {
		fmt.Fprintf(&b, "%s %.1f fps  ", f.cam.Name, float64(s.frames[i]-old.frames[i])/seconds)
	}
	if d := s.latency.since(&old.latency); d.n > 0 {
		fmt.Fprintf(&b, "latency p50 %s p99 %s  ", milliseconds(d.quantile(0.5)), milliseconds(d.quantile(0.99)))
	}
	t := r.totals()
	fmt.Fprintf(&b, "stored %d  errors %d  link %s", t.stored, t.allErrors(), r.link.Status().State)
	if st := r.link.Status(); st.State != datatransfer.Live && st.Cause != "" {
		fmt.Fprintf(&b, " (%s)", st.Cause)
	}
	return b.String()
}

// milliseconds is how people read latencies.
func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
