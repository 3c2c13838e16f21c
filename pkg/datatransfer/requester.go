package datatransfer

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
)

// repeatAfter is how long a Requester waits for an answer before it sends the
// request again, with the same id.
const repeatAfter = 400 * time.Millisecond

// RequesterConfig says whom a Requester asks.
type RequesterConfig struct {
	Camera       string
	RequestTopic string
	Timeout      time.Duration // of requests whose context has no deadline
	Log          zerolog.Logger
}

// ReplyError is the reason an agent gave for not serving a request.
type ReplyError struct{ Reason string }

func (e *ReplyError) Error() string { return e.Reason }

// ErrNoAnswer says that a request expired. Its text tells whether anybody had
// heard it.
var ErrNoAnswer = errors.New("no answer")

// Requester sends requests and hands each answer to the one who asked, exactly
// once. A request whose answer does not come is repeated with the same id, also
// by the next session, until it expires. Any goroutine may call it.
type Requester struct {
	cfg  RequesterConfig
	wake chan struct{} // capacity 1

	mu   sync.Mutex // guards all below and the fields of each ask but reply
	asks map[string]*ask
	last uint64
}

type ask struct {
	payload []byte
	order   uint64    // in which it was asked
	due     time.Time // when to send it (again)
	heard   int64     // receivers of the last PUBLISH; -1: not yet sent
	reply   chan *frame.Message
}

// NewRequester makes a requester without open requests.
func NewRequester(cfg RequesterConfig) *Requester {
	return &Requester{cfg: cfg, wake: make(chan struct{}, 1), asks: map[string]*ask{}}
}

// NewID makes a request ID: 48 bits of time, 80 of chance, in hexadecimal, so
// that IDs sort by age.
func NewID() string {
	var b [18]byte
	binary.BigEndian.PutUint64(b[:8], uint64(time.Now().UnixMilli())) //nolint:gosec // after 1970
	_, _ = rand.Read(b[8:])                                           // never fails
	return hex.EncodeToString(b[2:])
}

// Request asks once and waits for the answer: the frame's message, or a
// *ReplyError with the agent's reason. fields become keys of the request; an
// "id" is made if there is none.
func (r *Requester) Request(ctx context.Context, fields map[string]any) (*frame.Message, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.cfg.Timeout)
		defer cancel()
	}
	fields = maps.Clone(fields)
	if fields == nil {
		fields = map[string]any{}
	}
	id, ok := fields["id"].(string)
	if !ok || id == "" {
		id = NewID()
		fields["id"] = id
	}
	payload, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	a := &ask{payload: payload, heard: -1, reply: make(chan *frame.Message, 1)}
	if err := r.open(id, a); err != nil {
		return nil, err
	}
	defer r.close(id)
	select {
	case m := <-a.reply:
		if m.Header.Status == frame.StatusError {
			return m, &ReplyError{m.Header.Error}
		}
		return m, nil
	case <-ctx.Done():
		return nil, r.expired(ctx, a)
	}
}

func (r *Requester) expired(ctx context.Context, a *ask) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch a.heard {
	case -1:
		return fmt.Errorf("%w: the request could not be sent, there was no link to Redis", ErrNoAnswer)
	case 0:
		return fmt.Errorf("%w: no cam-agent listens for %s on %s", ErrNoAnswer, r.cfg.Camera, r.cfg.RequestTopic)
	default:
		return fmt.Errorf("%w: %s did not answer in time", ErrNoAnswer, r.cfg.Camera)
	}
}

func (r *Requester) open(id string, a *ask) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, taken := r.asks[id]; taken {
		return fmt.Errorf("request id %q is already waiting for its answer", id)
	}
	r.last++
	a.order = r.last
	r.asks[id] = a
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return nil
}

func (r *Requester) close(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.asks, id)
}

// Deliver hands a message of the camera's channel to whoever waits for it, and
// reports whether anybody did.
func (r *Requester) Deliver(m *frame.Message) bool {
	if len(m.Header.Request) == 0 {
		return false
	}
	var key struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(m.Header.Request, &key); err != nil || key.ID == "" {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	a, ok := r.asks[key.ID]
	if !ok {
		return false
	}
	delete(r.asks, key.ID) // a second copy finds nobody
	a.reply <- m
	return true
}

// Worker publishes what is asked, and asks again what is not answered.
func (r *Requester) Worker() Worker { return Worker{Name: "publish requests", Run: r.run} }

func (r *Requester) run(ctx context.Context, s *Session) error {
	r.overdue() // what an earlier session sent may never have arrived
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		due, next := r.due(time.Now())
		for _, a := range due {
			n, err := s.Data().Publish(ctx, r.cfg.RequestTopic, a.payload).Result()
			if err != nil {
				return fmt.Errorf("publish request: %w", err)
			}
			r.sent(a, n)
		}
		if len(due) > 0 {
			continue
		}
		timer.Reset(next)
		select {
		case <-r.wake:
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// due lists what is to be sent now, and says how long until the next one is.
func (r *Requester) due(now time.Time) (due []*ask, next time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next = time.Hour
	for _, a := range r.asks {
		if wait := a.due.Sub(now); wait > 0 {
			next = min(next, wait)
		} else {
			due = append(due, a)
		}
	}
	slices.SortFunc(due, func(a, b *ask) int { return cmp.Compare(a.order, b.order) })
	return due, next
}

func (r *Requester) sent(a *ask, receivers int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a.heard, a.due = receivers, time.Now().Add(repeatAfter)
}

func (r *Requester) overdue() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.asks {
		a.due = time.Time{}
	}
}
