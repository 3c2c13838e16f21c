// Package rpc is request and reply over pub/sub, both ends, for frames and for
// commands. A Caller repeats a request until it is answered; a Server answers each
// id once, remembers the answer for repeats, limits the rate, and refuses, with a
// reply, what is malformed or too much. What a request means, how an answer is
// published and what it costs is its user's business.
package rpc

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"framekeeper/internal/async"
)

// maxOpen is how many requests may wait for their answers as a rule.
const maxOpen = 1000

// ServerConfig says what a Server takes, and how it answers. R is a request.
type ServerConfig[R any, A Answer] struct {
	What    string  // "request", as errors and the log name one
	Rate    float64 // per second; bursts of one second's worth are taken
	MaxOpen int     // requests that wait for their answers; 0: 1000
	Memory  int64   // bytes of answers to remember; 0, or more than it: MaxMemory
	// Exact makes another request under an id that had one a mistake, which is
	// refused, and lets nothing refused be remembered. Otherwise the id alone
	// distinguishes requests.
	Exact bool
	// Parse reads a request into one that has what every request of its channel
	// has. With an error it returns what could be read; ErrElsewhere is no mistake.
	Parse func(payload []byte, blank R) (R, error)
	ID    func(R) string // "": every copy is a request of its own
	// Refuse makes the answer to a request that is not served.
	Refuse  func(r R, arrived time.Time, reason error) (A, error)
	Publish func(A) // must not block; also for each repeat
	Log     func() *zerolog.Logger
}

// ErrElsewhere is what Parse returns for a request that somebody else answers.
var ErrElsewhere = errors.New("the request is meant for another server")

// Pending is a request that waits for its answer.
type Pending[R any] struct {
	Request R
	Arrived time.Time
}

// Server takes what arrives on request channels: it refuses what is malformed or
// too much, answers repeats from memory, and holds the others until they are taken
// and answered. Any goroutine may call it.
type Server[R any, A Answer] struct {
	cfg     ServerConfig[R, A]
	arrived async.Wake

	mu      sync.Mutex    // guards all below
	rate    *rate.Limiter // of requests
	reports *rate.Limiter // of error replies about the rate
	pending []Pending[R]  // in order of arrival
	open    int           // the pending ones, and those that were taken and are not answered
	answers memory[A]
	stats   ServerStats
}

// ServerStats counts requests.
type ServerStats struct {
	Received  uint64 `json:"received"`
	Answered  uint64 `json:"answered"`
	Errors    uint64 `json:"errors"`   // answered with an error reply
	Refused   uint64 `json:"refused"`  // beyond the rate: one error reply a second is for all of them
	Repeated  uint64 `json:"repeated"` // their id had come before
	Malformed uint64 `json:"malformed"`
	Busy      uint64 `json:"busy"` // too many were waiting
	Pending   int    `json:"pending"`
}

// NewServer makes a server without requests.
func NewServer[R any, A Answer](cfg ServerConfig[R, A]) *Server[R, A] {
	if cfg.Memory <= 0 || cfg.Memory > MaxMemory {
		cfg.Memory = MaxMemory
	}
	if cfg.MaxOpen == 0 {
		cfg.MaxOpen = maxOpen
	}
	return &Server[R, A]{
		cfg: cfg, arrived: async.NewWake(), answers: newMemory[A](cfg.Memory),
		rate: rate.NewLimiter(rate.Limit(cfg.Rate), max(int(cfg.Rate), 1)), reports: rate.NewLimiter(1, 1),
	}
}

// Arrived receives after requests have become pending.
func (s *Server[R, A]) Arrived() <-chan struct{} { return s.arrived }

// Handle takes one message, and reports whether the rate allowed it. blank is what
// every request of its channel has.
func (s *Server[R, A]) Handle(payload []byte, arrived time.Time, blank R) (admitted bool) {
	if !s.admit(arrived, blank) {
		return false
	}
	r, err := s.cfg.Parse(payload, blank)
	if errors.Is(err, ErrElsewhere) {
		return true
	}
	var content [sha256.Size]byte
	if s.cfg.Exact {
		content = sha256.Sum256(payload)
	}
	again, err := s.enlist(r, arrived, content, err)
	switch {
	case err != nil:
		s.refuse(r, arrived, err, !s.cfg.Exact)
	case again != nil:
		s.cfg.Publish(again.answer)
	}
	return true
}

// admit limits the rate.
func (s *Server[R, A]) admit(now time.Time, blank R) bool {
	s.mu.Lock()
	s.stats.Received++
	admitted := s.rate.AllowN(now, 1)
	if !admitted {
		s.stats.Refused++
	}
	n := s.stats.Refused
	report := !admitted && s.reports.AllowN(now, 1)
	s.mu.Unlock()
	if report {
		s.cfg.Log().Warn().Uint64("refused", n).Float64("rate", s.cfg.Rate).Msgf("Too many %ss, refusing some", s.cfg.What)
		s.refuse(blank, now, fmt.Errorf("more than %v %ss a second: %d refused so far", s.cfg.Rate, s.cfg.What, n), false)
	}
	return admitted
}

// enlist makes a request pending. If its id has come before it returns the record
// of that if there is an answer, or nothing, since there will be one.
func (s *Server[R, A]) enlist(r R, arrived time.Time, content [sha256.Size]byte, malformed error) (*record[A], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.cfg.ID(r)
	known := s.answers.records[id]
	switch {
	case known != nil && known.content == content: // whether it is refused now or not
		s.stats.Repeated++
		if known.place == nil {
			return nil, nil //nolint:nilnil // nothing to repeat, nothing wrong
		}
		answer := *known
		return &answer, nil
	case malformed != nil:
		s.stats.Malformed++
		return nil, malformed
	case known != nil:
		return nil, fmt.Errorf("another %s has had this id: give each its own", s.cfg.What)
	case s.open >= s.cfg.MaxOpen:
		s.stats.Busy++
		return nil, fmt.Errorf("too many %ss are waiting, try again later", s.cfg.What)
	}
	s.open++
	s.pending = append(s.pending, Pending[R]{r, arrived})
	s.answers.open(id, content)
	s.arrived.Call()
	return nil, nil //nolint:nilnil // nothing to repeat, nothing wrong
}

// Take removes and returns the pending requests that match, oldest first. Each is
// to be answered by Answer or Fail.
func (s *Server[R, A]) Take(match func(p Pending[R]) bool) []Pending[R] {
	s.mu.Lock()
	defer s.mu.Unlock()
	var taken []Pending[R]
	s.pending = slices.DeleteFunc(s.pending, func(p Pending[R]) bool {
		if !match(p) {
			return false
		}
		taken = append(taken, p)
		return true
	})
	return taken
}

// Answer remembers and publishes the answer to a request that was taken.
func (s *Server[R, A]) Answer(p Pending[R], a A) {
	s.mu.Lock()
	s.open--
	s.stats.Answered++
	s.answers.remember(s.cfg.ID(p.Request), a)
	s.mu.Unlock()
	s.cfg.Publish(a) // last: a repeat that comes once it is out finds it
}

// Fail answers a request that was taken with an error reply.
func (s *Server[R, A]) Fail(p Pending[R], reason error) {
	s.mu.Lock()
	s.open--
	s.mu.Unlock()
	s.refuse(p.Request, p.Arrived, reason, true)
}

func (s *Server[R, A]) refuse(r R, arrived time.Time, reason error, remember bool) {
	a, err := s.cfg.Refuse(r, arrived, reason)
	if err != nil {
		s.cfg.Log().Error().Err(err).Msg("An error reply could not be built")
		return
	}
	s.mu.Lock()
	s.stats.Errors++
	if remember {
		s.answers.remember(s.cfg.ID(r), a)
	}
	s.mu.Unlock()
	s.cfg.Publish(a)
}

// Remember remembers an answer that an earlier start gave. A repeat of its request
// that has come already gets it now.
func (s *Server[R, A]) Remember(id string, a A) {
	s.mu.Lock()
	known := s.answers.records[id]
	waits := known != nil && known.place == nil
	if waits {
		s.stats.Repeated++
		before := len(s.pending)
		s.pending = slices.DeleteFunc(s.pending, func(p Pending[R]) bool { return s.cfg.ID(p.Request) == id })
		s.open -= before - len(s.pending)
	}
	if known == nil || waits {
		s.answers.remember(id, a)
	}
	s.mu.Unlock()
	if waits {
		s.cfg.Publish(a)
	}
}

// Stats counts what has come in.
func (s *Server[R, A]) Stats() ServerStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Pending = len(s.pending)
	return stats
}
