package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

const (
	// repeatAfter is how long a Client waits for an answer before it sends
	// the request again, with the same id. Each further wait is twice as long:
	// on a slow link every repeat brings a large frame once more.
	repeatAfter = 400 * time.Millisecond
	repeatMost  = 8 * time.Second
)

// ClientConfig says whom a Client asks.
type ClientConfig struct {
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

// Client sends requests and hands each answer to the one who asked, exactly
// once. A request whose answer does not come is repeated with the same id, also
// by the next session, until it expires. Any goroutine may call it.
type Client struct {
	cfg  ClientConfig
	wake chan struct{} // capacity 1

	mu   sync.Mutex // guards all below and the fields of each ask but reply
	asks map[string]*ask
	last uint64
}

type ask struct {
	payload []byte
	order   uint64        // in which it was asked
	due     time.Time     // when to send it (again)
	wait    time.Duration // until then, when it is sent
	heard   int64         // receivers of the last PUBLISH; -1: not yet sent
	refused error         // Redis's answer to the last PUBLISH, if it was none
	reply   chan *frame.Message
}

// NewClient makes a requester without open requests.
func NewClient(cfg ClientConfig) *Client {
	return &Client{cfg: cfg, wake: make(chan struct{}, 1), asks: map[string]*ask{}}
}

// Request asks once and waits for the answer: the frame's message, or a
// *ReplyError with the agent's reason. fields become keys of the request; an
// "id" is made if there is none.
func (r *Client) Request(ctx context.Context, fields map[string]any) (*frame.Message, error) {
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
		id = frame.NewRequestID()
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
		return answered(m)
	case <-ctx.Done():
	}
	select {
	case m := <-a.reply: // at the last moment
		return answered(m)
	default:
		return nil, r.expired(ctx, a)
	}
}

func answered(m *frame.Message) (*frame.Message, error) {
	if m.Header.Status == frame.StatusError {
		return m, &ReplyError{m.Header.Error}
	}
	return m, nil
}

func (r *Client) expired(ctx context.Context, a *ask) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case a.refused != nil:
		return fmt.Errorf("%w: the request was refused: %w; %s", ErrNoAnswer, a.refused, redisconn.CauseOf(a.refused).Advice())
	case a.heard < 0:
		return fmt.Errorf("%w: the request could not be sent, there was no link to Redis", ErrNoAnswer)
	case a.heard == 0:
		return fmt.Errorf("%w: no cam-agent listens for %s on %s", ErrNoAnswer, r.cfg.Camera, r.cfg.RequestTopic)
	default:
		return fmt.Errorf("%w: %s did not answer in time", ErrNoAnswer, r.cfg.Camera)
	}
}

func (r *Client) open(id string, a *ask) error {
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

func (r *Client) close(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.asks, id)
}

// Deliver hands a message of the camera's channel to whoever waits for it, and
// reports whether anybody did.
func (r *Client) Deliver(m *frame.Message) bool {
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
