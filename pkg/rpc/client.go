package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
)

const (
	// repeatAfter doubles with each repeat: on a slow link every one brings a
	// large frame once more.
	repeatAfter = 400 * time.Millisecond
	repeatMost  = 8 * time.Second
)

// ClientConfig says which camera a Client asks.
type ClientConfig struct {
	Camera       string
	RequestTopic string
	Timeout      time.Duration // of requests whose context has no deadline
}

// ReplyError is the reason an agent gave for not serving a request.
type ReplyError struct{ Reason string }

func (e *ReplyError) Error() string { return e.Reason }

// Client requests frames of one camera, and hands each answer to whoever asked,
// exactly once. Any goroutine may call it.
type Client struct {
	timeout time.Duration
	caller  *Caller[*frame.Message]
}

// NewClient makes a client without open requests.
func NewClient(cfg ClientConfig) *Client {
	return &Client{timeout: cfg.Timeout, caller: NewCaller[*frame.Message](CallerConfig{
		Channel: cfg.RequestTopic, What: "request", RepeatAfter: repeatAfter, RepeatMost: repeatMost,
		Unheard: "no cam-agent listens for " + cfg.Camera + " on " + cfg.RequestTopic,
		Silent:  cfg.Camera + " did not answer in time",
	})}
}

// Worker publishes the requests, and repeats them.
func (r *Client) Worker() datatransfer.Worker { return r.caller.Worker() }

// Request requests a frame and waits for the answer: the frame's message, or a
// *ReplyError with the agent's reason. fields become keys of the request; an "id"
// is made if there is none.
func (r *Client) Request(ctx context.Context, fields map[string]any) (*frame.Message, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.timeout)
		defer cancel()
	}
	if fields = maps.Clone(fields); fields == nil {
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
	call, err := r.caller.Open(id, payload, 1)
	if err != nil {
		return nil, err
	}
	defer call.Close()
	select {
	case m := <-call.Answers:
		return answered(m)
	case <-ctx.Done():
	}
	select {
	case m := <-call.Answers: // at the last moment
		return answered(m)
	default:
	}
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil, ctx.Err()
	}
	return nil, call.Unanswered()
}

func answered(m *frame.Message) (*frame.Message, error) {
	if m.Header.Status == frame.StatusError {
		return m, &ReplyError{m.Header.Error}
	}
	return m, nil
}

// Deliver hands a message of the camera's channel to whoever waits for it, and
// reports whether anybody did.
func (r *Client) Deliver(m *frame.Message) bool {
	id := m.Header.RequestID()
	return id != "" && r.caller.Deliver(id, m)
}
