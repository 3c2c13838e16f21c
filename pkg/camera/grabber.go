package camera

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/async"
	"framekeeper/internal/text"
)

// Waits between two attempts to open a source: they double from the first to
// the last, less up to half of each by chance, so that the cameras of one box
// do not all come back at once.
const (
	reopenWaitMin = 100 * time.Millisecond
	reopenWaitMax = 5 * time.Second
	// steadyAfter is how long a camera must give frames to be healthy again, and
	// no longer one that comes and goes. Such a one waits too, but not for long:
	// it does give frames.
	steadyAfter  = 10 * time.Second
	maxFlapWaits = 4
)

// refusedWait is how long to wait after the nth refusal in a row. Cameras lock an
// account after some five attempts, and only a person can mend what they refuse.
func refusedWait(n int) time.Duration {
	return [...]time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute}[min(n, 3)-1]
}

// Grabber drains one camera all the time and has its newest frame. A frame
// that nobody fetched is replaced by the next one: a slow consumer never sees
// a queue, only the newest. It reopens a source that fails, and a watchdog notices
// one that is silent or hangs. All methods may be called from any goroutine; Run
// once.
type Grabber struct {
	cfg    Config
	opener Opener
	log    zerolog.Logger
	jitter func() float64 // in [0,1)
	seed   maphash.Seed
	pool   pool

	updates  async.Wake
	changed  async.Wake
	ended    chan struct{} // closed when Run returns
	controls chan controlRequest
	latency  atomic.Int64 // of the open source, in nanoseconds

	mu          sync.Mutex // guards all below
	latest      *Frame
	health      Health        // FPS and the open source's defects are added when asked for
	defects     DefectCounter // of the source that was opened last; nil if it counts none
	rate        rate
	lastSum     uint64 // hash of the newest image, with frozen_timeout only
	haveSum     bool
	downSince   time.Time        // since when frames have been missing; zero while they come
	lossLogged  bool             // so the recovery is logged too
	setControls map[string]int64 // since the start, never changed in place
	arrival     chan struct{}    // closed at the next new frame; nil: nobody waits in Await
	deadline    time.Time        // when Run's goroutine acts again at the latest; zero: it does not run
}

// NewGrabber prepares a Grabber; Run starts it.
func NewGrabber(cfg Config, open Opener, log zerolog.Logger) *Grabber {
	return &Grabber{
		cfg:      cfg,
		opener:   open,
		log:      log.With().Str("camera", cfg.Name).Logger(),
		jitter:   rand.Float64,
		seed:     maphash.MakeSeed(),
		updates:  async.NewWake(),
		changed:  async.NewWake(),
		ended:    make(chan struct{}),
		controls: make(chan controlRequest),
		health:   Health{State: StateOpening, Reason: "the camera is being opened"},
	}
}

// Run opens the source and drains it until ctx ends (nil), a finite source
// ends (ErrEnded), MaxReopens attempts to get a new frame have failed in a row
// (ErrReopenLimit; one that the camera refused does not count), or the source's code does not return (ErrHung).
//
// After ErrHung one goroutine is left behind: it is inside a C call, and
// nothing in this process can cancel that. It hands out no more frames. The
// caller is expected to exit, so that a fresh process can be started.
func (g *Grabber) Run(ctx context.Context) error {
	defer close(g.ended)
	err := g.run(ctx)
	reason := "the agent is stopping"
	if err != nil {
		reason = g.describe(err)
	}
	g.mu.Lock()
	g.deadline = time.Time{}
	g.mu.Unlock()
	g.setState(StateEnded, reason)
	return err
}

func (g *Grabber) run(ctx context.Context) error {
	flaps := 0 // acquisitions in a row that gave frames, and soon no more
	for reopens, refusals := 0, 0; ; {
		yield, err := g.acquire(ctx)
		switch {
		case errors.Is(err, ErrHung), errors.Is(err, ErrUnsupported):
			return err
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%w: %w", ErrEnded, err)
		}
		switch {
		case yield >= steadyAfter:
			reopens, refusals, flaps = 0, 0, 0
		case yield > 0:
			reopens, refusals = 0, 0
			flaps++
		}
		if errors.Is(err, ErrRefused) {
			refusals++
			wait := refusedWait(refusals)
			g.recordFailure(reopens+refusals, flaps, err, fmt.Sprintf("trying again in %.0f min", wait.Minutes()))
			if !g.pause(ctx, wait) {
				return nil
			}
			continue
		}
		if reopens >= g.cfg.MaxReopens {
			return fmt.Errorf("%w after %s to reopen it: %w", ErrReopenLimit, text.Count(reopens, "attempt"), err)
		}
		reopens++
		g.recordFailure(reopens+refusals, flaps, err, fmt.Sprintf("reopening it, attempt %d of %d", reopens, g.cfg.MaxReopens))
		if !g.pause(ctx, g.reopenWait(max(reopens, min(flaps, maxFlapWaits)))) {
			return nil
		}
	}
}

// pause waits for the next attempt. It reports false when ctx has ended.
func (g *Grabber) pause(ctx context.Context, wait time.Duration) bool {
	g.setDeadline(wait)
	return async.Pause(ctx, wait)
}

// recordFailure is called after each failed acquisition. The log has the first
// failure in full and then the recovery; what lies between is counted. Of a
// camera that comes and goes it has ever fewer. next is what follows, for people.
func (g *Grabber) recordFailure(attempt, flaps int, err error, next string) {
	g.mu.Lock()
	g.health.Reopens++
	if g.downSince.IsZero() {
		g.downSince = time.Now()
	}
	if attempt == 1 {
		g.lossLogged = flaps&(flaps-1) == 0
	}
	log := attempt == 1 && g.lossLogged
	g.mu.Unlock()
	reason := g.describe(err)
	if log {
		h := g.Health()
		e := g.log.Warn().Str("cause", reason).Int("max_reopens", g.cfg.MaxReopens).
			Uint64("stalls", h.Stalls).Uint64("reopens", h.Reopens).Uint64("skipped", h.Skipped).Uint64("broken", h.Broken)
		if flaps > 1 {
			e = e.Int("times_in_a_row", flaps)
		}
		e.Msg("Camera lost, reopening it")
	}
	g.setState(StateRetrying, reason+"; "+next)
}

// reopenWait is how long to wait before the nth attempt in a row.
func (g *Grabber) reopenWait(n int) time.Duration {
	wait := min(reopenWaitMin<<min(n-1, 6), reopenWaitMax)
	return wait - time.Duration(g.jitter()*float64(wait/2))
}

// Latest is the newest frame, retained for the caller, or nil before the
// first. It stays available after Run has returned.
func (g *Grabber) Latest() *Frame {
	f, _ := g.Newer(0)
	return f
}

// Newer is the newest frame and its ticket if that is above after, otherwise
// nil and after. The first frame has ticket 1; unlike Frame.Seq, tickets go
// on rising when the source is reopened. The frame is retained for the caller.
func (g *Grabber) Newer(after uint64) (*Frame, uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.latest == nil || g.health.Frames <= after {
		return nil, after
	}
	return g.latest.Retain(), g.health.Frames
}

// Await waits for a frame with a ticket above after and returns it, retained for
// the caller, with its ticket; nil when ctx ends first. Any number of goroutines may
// wait; no consumer of Updates loses anything by it.
func (g *Grabber) Await(ctx context.Context, after uint64) (*Frame, uint64) {
	for {
		g.mu.Lock()
		if g.latest != nil && g.health.Frames > after {
			f, ticket := g.latest.Retain(), g.health.Frames
			g.mu.Unlock()
			return f, ticket
		}
		if g.arrival == nil {
			g.arrival = make(chan struct{})
		}
		arrival := g.arrival
		g.mu.Unlock()
		select {
		case <-arrival:
		case <-ctx.Done():
			return nil, after
		}
	}
}

// Updates receives a value after new frames, at most one while nobody receives.
// It serves one consumer, who then calls Latest or Newer.
func (g *Grabber) Updates() <-chan struct{} { return g.updates }

// Wait waits for a frame with a ticket above after. It takes from Updates and
// so is an alternative to it for the one consumer.
func (g *Grabber) Wait(ctx context.Context, after uint64) (*Frame, uint64, error) {
	for {
		if f, ticket := g.Newer(after); f != nil {
			return f, ticket, nil
		}
		select {
		case <-ctx.Done():
			return nil, after, ctx.Err()
		case <-g.updates:
		case <-g.ended:
			if f, ticket := g.Newer(after); f != nil {
				return f, ticket, nil
			}
			return nil, after, fmt.Errorf("wait for a frame: %s", g.Health().Reason)
		}
	}
}

// Latency is how old a frame may be at its Captured instant: as configured, or
// as the source states.
func (g *Grabber) Latency() time.Duration {
	if g.cfg.SourceLatency >= 0 {
		return g.cfg.SourceLatency
	}
	return time.Duration(g.latency.Load())
}

// MayAnswer reports whether the frame may answer a request that arrived then:
// it was exposed after it, or it was at most maxAge old when it came.
func (g *Grabber) MayAnswer(f *Frame, arrived time.Time, maxAge time.Duration) bool {
	exposed := f.Captured.Add(-g.Latency())
	return !exposed.Before(arrived.Add(-max(maxAge, 0)))
}
