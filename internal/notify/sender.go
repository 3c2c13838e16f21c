package notify

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/async"
	"framekeeper/internal/events"
	"framekeeper/internal/text"
)

const (
	maxWaiting = 256         // events; beyond it the oldest is dropped
	maxAge     = time.Hour   // of an event that waits; then it is dropped
	maxBackoff = time.Minute // between attempts
)

// Sender sends events to a Target. Any goroutine may use it; Run may be called once.
type Sender struct {
	version          string
	log              func() *zerolog.Logger
	by               http.RoundTripper
	wake             async.Wake
	hold             time.Duration // how long an event that repeats itself waits for a newer one
	timeout, backoff time.Duration // of an attempt; after the first that failed
	end              time.Duration // for what waits when Run is to end

	mu            sync.Mutex // guards all below
	target        *Target
	waiting       []*delivery // oldest first
	undeclared    int         // events dropped, and in no body that has arrived
	sent, dropped uint64      // since the start
	failingSince  time.Time   // zero: it does not fail
	pause         time.Duration
	retryAt       time.Time
}

// delivery is an event on its way. Its body is the same in all attempts.
type delivery struct {
	event      events.Event
	id         string
	since, due time.Time
	busy       bool   // an attempt is under way
	body       []byte // nil before the first attempt
	declares   int    // dropped events, in body
}

// New makes a Sender of that version of the program, which sends nothing before Use.
func New(version string, log func() *zerolog.Logger) *Sender {
	return &Sender{
		version: version, log: log, wake: async.NewWake(), hold: 10 * time.Second, timeout: 10 * time.Second, backoff: time.Second, end: 2 * time.Second,
		by: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10},
	}
}

// Use has events go there from now on, those that wait too; nil: nowhere.
func (s *Sender) Use(t *Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.target, s.failingSince, s.pause, s.retryAt = t, time.Time{}, 0, time.Time{}
	if t == nil {
		s.waiting, s.undeclared = nil, 0
	}
	s.wake.Call()
}

// Counts are how many POSTs have arrived, and how many events were dropped.
func (s *Sender) Counts() (sent, dropped uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent, s.dropped
}

// Add takes an event, and never blocks. One that repeats itself waits for a moment, and
// what is newer of the same subject takes its place.
func (s *Sender) Add(e events.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.target.wants(&e) {
		return
	}
	d := &delivery{event: e, id: rand.Text(), since: time.Now()}
	if d.due = d.since; e.Times() > 1 {
		d.due = d.since.Add(s.hold)
	}
	s.waiting = slices.DeleteFunc(s.waiting, func(old *delivery) bool {
		o := &old.event
		superseded := !old.busy && o.Times() > 1 && o.Kind == e.Kind && o.Camera == e.Camera && o.Subject == e.Subject
		if superseded && old.due.Before(d.due) {
			d.due = old.due
		}
		return superseded
	})
	if s.waiting = append(s.waiting, d); len(s.waiting) > maxWaiting {
		oldest := slices.IndexFunc(s.waiting, func(d *delivery) bool { return !d.busy })
		s.waiting = slices.Delete(s.waiting, oldest, oldest+1)
		s.drop(1)
	}
	s.wake.Call()
}

// drop counts events that are given up; the first is logged. Its caller holds mu.
func (s *Sender) drop(n int) {
	if n > 0 && s.undeclared == 0 {
		s.log().Warn().Msg("Events are dropped: their receiver has not taken them for too long; what it takes next says how many")
	}
	s.undeclared, s.dropped = s.undeclared+n, s.dropped+uint64(n)
}

// Run sends until ctx ends, and then what waits, for 2 s and as long as it arrives.
func (s *Sender) Run(ctx context.Context) {
	longer, cancel := async.Outlast(ctx, s.end)
	defer cancel()
	for {
		t, d, pause := s.next(ctx.Err() != nil)
		good := d != nil && s.attempt(longer, t, d)
		switch {
		case good:
		case ctx.Err() != nil:
			s.mu.Lock()
			defer s.mu.Unlock()
			if n := len(s.waiting); n > 0 {
				s.log().Warn().Int("events", n).Msg("Events have not reached their receiver")
			}
			return
		case d == nil:
			s.sleep(ctx, pause)
		}
	}
}

func (s *Sender) sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.wake:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// next is what to send now; nil: nothing for so long. At the end all that waits is due.
func (s *Sender) next(ending bool) (t *Target, d *delivery, pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, before := time.Now(), len(s.waiting)
	s.waiting = slices.DeleteFunc(s.waiting, func(d *delivery) bool { return now.Sub(d.since) > maxAge })
	s.drop(before - len(s.waiting))
	pause = maxAge
	for _, d := range s.waiting {
		if wait := max(d.due.Sub(now), s.retryAt.Sub(now)); wait > 0 && !ending {
			pause = min(pause, wait)
			continue
		}
		if d.body == nil {
			d.declares = s.undeclared
			d.body, _ = json.Marshal(struct { // an event has no figure that JSON lacks
				Box     string       `json:"box"`
				Version string       `json:"version"`
				Dropped int          `json:"dropped"` // events since the last POST that has arrived
				Event   events.Event `json:"event"`
			}{s.target.box, s.version, d.declares, d.event})
		}
		d.busy = true
		return s.target, d, 0
	}
	return nil, nil, pause
}

// attempt reports whether the delivery has arrived. A failure is logged once, and again
// when it is over.
func (s *Sender) attempt(ctx context.Context, t *Target, d *delivery) bool {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := t.post(ctx, s.by, d)
	s.mu.Lock()
	defer s.mu.Unlock()
	d.busy = false
	now := time.Now()
	if err == nil {
		s.sent, s.undeclared = s.sent+1, max(s.undeclared-d.declares, 0)
		s.waiting = slices.DeleteFunc(s.waiting, func(w *delivery) bool { return w == d })
	}
	switch {
	case s.target != t: // it says nothing of the new one
	case err == nil && !s.failingSince.IsZero():
		s.log().Info().Stringer("receiver", t).Str("failed_for", text.Short(now.Sub(s.failingSince))).Msg("Events reach their receiver again")
		s.failingSince, s.pause, s.retryAt = time.Time{}, 0, time.Time{}
	case err != nil:
		if s.failingSince.IsZero() {
			s.failingSince = now
			s.log().Warn().Stringer("receiver", t).Str("reason", err.Error()).Msg("Events do not reach their receiver; each is tried again for an hour")
		}
		s.pause = min(max(2*s.pause, s.backoff), maxBackoff)
		s.retryAt = now.Add(s.pause)
	}
	return err == nil
}
