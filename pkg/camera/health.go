package camera

import (
	"errors"
	"strings"
	"time"
)

// State is the state of a camera.
type State string

// The states of a camera.
const (
	StateOpening  State = "opening"  // opened for the first time, no frame yet
	StateOK       State = "ok"       // new frames arrive
	StateStalled  State = "stalled"  // frames have stopped, the source is being closed
	StateRetrying State = "retrying" // waiting to reopen, or reopened without a new frame so far
	StateEnded    State = "ended"    // Run has returned
)

// States are all there are.
func States() []State {
	return []State{StateOpening, StateOK, StateStalled, StateRetrying, StateEnded}
}

// What ends a Grabber's Run.
var (
	ErrReopenLimit = errors.New("camera abandoned")              // MaxReopens failures in a row
	ErrHung        = errors.New("camera driver does not return") // only a fresh process helps
	ErrEnded       = errors.New("source has ended")              // a finite source, read to its end
)

// Health is the state of a camera and its counters. Its age is that of the last
// new frame: a source that is open but gives nothing is not healthy.
type Health struct {
	State     State
	Reason    string    // for people, without credentials; "" in StateOK
	LastFrame time.Time // when the last new frame arrived; zero before the first
	Frames    uint64    // new frames
	Skipped   uint64    // missing in the driver's counter
	Broken    uint64    // discarded by the source, see Defects
	BrokenWhy string    // what was wrong with the last one
	Reopens   uint64    // attempts to open the source again
	Stalls    uint64    // times the watchdog found no new frame
	FPS       float64   // measured at arrival; before the second frame what the source announces
	Info      Info      // what the source delivers; zero before it was first open
}

// Health is the camera's health now.
func (g *Grabber) Health() Health {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := g.health
	if h.FPS = g.rate.fps(time.Now()); g.rate.n == 1 {
		h.FPS = h.Info.FPS
	}
	g.countDefects(&h)
	return h
}

// HealthChanged receives a value after State or Reason has changed, at most
// one while nobody receives. It serves one consumer.
func (g *Grabber) HealthChanged() <-chan struct{} { return g.changed }

// setState changes state and reason, and wakes the consumer of HealthChanged.
func (g *Grabber) setState(s State, reason string) {
	g.mu.Lock()
	changed := g.health.State != s || g.health.Reason != reason
	g.health.State, g.health.Reason = s, reason
	g.mu.Unlock()
	if changed {
		g.changed.Call()
	}
}

// describe turns an error into a reason for people. Sources are asked not to
// name credentials; should one quote the source string whole, it goes here.
func (g *Grabber) describe(err error) string {
	if g.cfg.Source == "" {
		return err.Error()
	}
	return strings.ReplaceAll(err.Error(), g.cfg.Source, RedactSource(g.cfg.Source))
}

// rate measures frames a second over the last few arrivals, so that it is as
// good at 0.1 fps as at 1000.
type rate struct {
	at [32]time.Time
	n  int // arrivals since reset
}

func (r *rate) reset() { r.n = 0 }

func (r *rate) add(t time.Time) {
	r.at[r.n%len(r.at)] = t
	r.n++
}

// fps falls towards 0 when frames stay away.
func (r *rate) fps(now time.Time) float64 {
	n := min(r.n, len(r.at))
	if n < 2 {
		return 0
	}
	first, last := r.at[(r.n-n)%len(r.at)], r.at[(r.n-1)%len(r.at)]
	span := last.Sub(first)
	if idle := now.Sub(last); idle > 2*span/time.Duration(n-1) {
		span += idle
	}
	if span <= 0 {
		return 0
	}
	return float64(n-1) / span.Seconds()
}
