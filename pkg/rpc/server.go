package rpc

import (
	"container/list"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"

	"framekeeper/pkg/outbox"
)

const (
	maxPending      = 1000     // requests that wait for a frame
	maxAnswered     = 1000     // answers kept for repeated requests
	maxAnsweredSize = 16 << 20 // bytes of them
)

// ServerConfig says what requests a camera takes.
type ServerConfig struct {
	Rate    float64       // per second; bursts of one second are taken
	Memory  int64         // bytes of answers kept for repeats; 0, or more than it: maxAnsweredSize
	Timeout time.Duration // of requests that name none
	Parse   func([]byte) (frame.Request, error)
	// Refuse sends an error reply for a request that gets no frame.
	Refuse func(r frame.Request, arrived time.Time, reason string)
	// Repeat publishes an answer again.
	Repeat func(item *outbox.Item)
	Log    zerolog.Logger
}

// Pending is a request that waits for its frame.
type Pending struct {
	Request  frame.Request
	Arrived  time.Time
	Deadline time.Time
}

// Server takes what arrives on a camera's request channel: it refuses what is
// malformed or too much, answers repeats from memory, and holds the others
// until their frame is there. Handle is called by the receiver, the rest by the
// one goroutine that serves frames.
type Server struct {
	cfg ServerConfig

	mu       sync.Mutex // guards all below
	pending  []Pending  // in order of arrival
	waiting  map[string]bool
	answered map[string]*list.Element // of *answer
	order    *list.List               // oldest answer first
	size     int64
	tokens   float64
	filled   time.Time
	told     time.Time // of the last error reply about the rate
	stats    ServerStats
	arrived  chan struct{} // capacity 1
}

type answer struct {
	id   string
	item *outbox.Item
}

// ServerStats counts requests.
type ServerStats struct {
	Received  uint64 `json:"received"`
	Answered  uint64 `json:"answered"`
	Errors    uint64 `json:"errors"`   // answered with an error reply
	Refused   uint64 `json:"refused"`  // beyond the rate: of these only one a second is told
	Repeated  uint64 `json:"repeated"` // known by their id
	Malformed uint64 `json:"malformed"`
	Busy      uint64 `json:"busy"` // too many were waiting
	Pending   int    `json:"pending"`
}

// NewServer makes an empty table.
func NewServer(cfg ServerConfig) *Server {
	if cfg.Memory <= 0 || cfg.Memory > maxAnsweredSize {
		cfg.Memory = maxAnsweredSize
	}
	return &Server{
		cfg: cfg, waiting: map[string]bool{}, answered: map[string]*list.Element{}, order: list.New(),
		tokens: max(cfg.Rate, 1), filled: time.Now(), arrived: make(chan struct{}, 1),
	}
}

// Arrived receives after requests have become pending.
func (r *Server) Arrived() <-chan struct{} { return r.arrived }

// Handle takes one message of the request channel.
func (r *Server) Handle(payload []byte, arrived time.Time) {
	if !r.admit(arrived) {
		return
	}
	req, err := r.cfg.Parse(payload)
	if err != nil {
		if again, known := r.known(req.ID); known { // refused now, but not when it first came
			if again != nil {
				r.cfg.Repeat(again)
			}
			return
		}
		r.count(func(s *ServerStats) { s.Malformed++ })
		r.Refuse(req, arrived, err)
		return
	}
	again, err := r.enlist(req, arrived)
	switch {
	case err != nil:
		r.Refuse(req, arrived, err)
	case again != nil:
		r.cfg.Repeat(again)
	}
}

// Refuse answers a request with an error reply.
func (r *Server) Refuse(req frame.Request, arrived time.Time, reason error) {
	r.count(func(s *ServerStats) { s.Errors++ })
	r.cfg.Refuse(req, arrived, reason.Error())
}

func (r *Server) count(f func(*ServerStats)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.stats)
}

// admit keeps the rate with a bucket of one second's worth.
func (r *Server) admit(now time.Time) bool {
	r.mu.Lock()
	r.stats.Received++
	r.tokens = min(r.tokens+now.Sub(r.filled).Seconds()*r.cfg.Rate, max(r.cfg.Rate, 1))
	r.filled = now
	if r.tokens >= 1 {
		r.tokens--
		r.mu.Unlock()
		return true
	}
	r.stats.Refused++
	tell := now.Sub(r.told) >= time.Second
	if tell {
		r.told = now
	}
	n := r.stats.Refused
	r.mu.Unlock()
	if tell {
		r.cfg.Log.Warn().Uint64("refused", n).Float64("request_rate", r.cfg.Rate).Msg("too many requests, refusing some")
		r.Refuse(frame.Request{}, now, fmt.Errorf("more than %v requests a second: %d refused so far", r.cfg.Rate, n))
	}
	return false
}

var errBusy = errors.New("too many requests are waiting")

// known looks whether a request of this id has been answered, and then again is
// the answer, or waits for it: each id is answered once.
func (r *Server) known(id string) (again *outbox.Item, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.knownLocked(id)
}

func (r *Server) knownLocked(id string) (again *outbox.Item, known bool) {
	if id == "" {
		return nil, false
	}
	if e, ok := r.answered[id]; ok {
		again, known = e.Value.(*answer).item, true
	}
	if known = known || r.waiting[id]; known {
		r.stats.Repeated++
	}
	return again, known
}

// enlist makes the request pending, or returns the answer it already had.
func (r *Server) enlist(req frame.Request, arrived time.Time) (again *outbox.Item, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if again, known := r.knownLocked(req.ID); known {
		return again, nil
	}
	if len(r.pending) >= maxPending {
		r.stats.Busy++
		return nil, errBusy
	}
	timeout := req.Timeout
	if timeout == 0 {
		timeout = r.cfg.Timeout
	}
	r.pending = append(r.pending, Pending{Request: req, Arrived: arrived, Deadline: arrived.Add(timeout)})
	if req.ID != "" {
		r.waiting[req.ID] = true
	}
	select {
	case r.arrived <- struct{}{}:
	default:
	}
	return nil, nil //nolint:nilnil // nothing to repeat, nothing wrong
}

// Take removes and returns the pending requests that match, oldest first.
func (r *Server) Take(match func(p Pending) bool) []Pending {
	r.mu.Lock()
	defer r.mu.Unlock()
	var taken []Pending
	kept := r.pending[:0]
	for _, p := range r.pending {
		if match(p) {
			taken = append(taken, p)
		} else {
			kept = append(kept, p)
		}
	}
	clear(r.pending[len(kept):])
	r.pending = kept
	return taken
}

// NextDeadline is the earliest deadline of the pending requests; zero if none.
func (r *Server) NextDeadline() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	var next time.Time
	for _, p := range r.pending {
		if next.IsZero() || p.Deadline.Before(next) {
			next = p.Deadline
		}
	}
	return next
}

// Answered remembers the answer to a request that was taken, for its repeats.
func (r *Server) Answered(req frame.Request, item *outbox.Item, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ok {
		r.stats.Answered++
	}
	if req.ID != "" {
		delete(r.waiting, req.ID)
		r.rememberLocked(req.ID, item)
	}
}

// remember keeps an answer that was given by an earlier start. A repeat of its
// request that came before we knew gets it now.
func (r *Server) remember(id string, item *outbox.Item) {
	r.mu.Lock()
	waiting := r.waiting[id]
	if waiting {
		delete(r.waiting, id)
		r.pending = slices.DeleteFunc(r.pending, func(p Pending) bool { return p.Request.ID == id })
		r.stats.Repeated++
	}
	if r.answered[id] == nil {
		r.rememberLocked(id, item)
	}
	r.mu.Unlock()
	if waiting {
		r.cfg.Repeat(item)
	}
}

func (r *Server) rememberLocked(id string, item *outbox.Item) {
	if e, known := r.answered[id]; known {
		r.forget(e)
	}
	item.Pin()
	r.answered[id] = r.order.PushBack(&answer{id, item})
	r.size += item.Size()
	for r.order.Len() > maxAnswered || (r.size > r.cfg.Memory && r.order.Len() > 1) {
		r.forget(r.order.Front())
	}
}

func (r *Server) forget(e *list.Element) {
	a := r.order.Remove(e).(*answer)
	delete(r.answered, a.id)
	a.item.Unpin()
	r.size -= a.item.Size()
}

// Stats counts what came in.
func (r *Server) Stats() ServerStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Pending = len(r.pending)
	return s
}
