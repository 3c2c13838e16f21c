package agent

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"framekeeper/internal/agentapi"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
)

const (
	// maxDirect is how many requests over the socket may wait at a time: each answer
	// is an image in memory.
	maxDirect = 32
	// directGrace is how long after its own timeout a request has been lost.
	directGrace = 2 * time.Second
)

// direct serves requests that come over the agent's socket. They go the way of those
// from Redis, through the responder, and their frames enter the log like all others;
// but they wait for no session, and their answers go to whoever asked first. It
// stands before the Publisher, which gets each answer too while there is a session:
// without one an answer would wait there for somebody who has it already.
type direct struct {
	publisher
	cam     camera.Config
	live    func() bool                                    // a session is LIVE
	receive func(payload []byte, arrived time.Time) bool   // false: the rate is exceeded
	logged  interface{ Published(item *outbox.Item) }      // the log
	render  func(f *camera.Frame) (jpeg []byte, err error) // for who cannot look at raw pixels

	mu      sync.Mutex                     // guards waiting
	waiting map[string][]chan *outbox.Item // by the request's id; each takes one
}

// Answer hands the answer to whoever waits for it.
func (d *direct) Answer(item *outbox.Item) {
	if d.deliver(item) && !d.live() {
		d.logged.Published(item)
		return
	}
	d.publisher.Answer(item)
}

func (d *direct) deliver(item *outbox.Item) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.waiting) == 0 {
		return false
	}
	id := item.Message().Header.RequestID()
	all := d.waiting[id]
	for _, c := range all {
		c <- item // has room for one, and is taken out
	}
	delete(d.waiting, id)
	return len(all) > 0
}

// has reports whether somebody waits for the answer to this request at the socket.
func (d *direct) has(r frame.Request) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.waiting) == 0 {
		return false
	}
	h := frame.Header{Request: r.Object}
	return len(d.waiting[h.RequestID()]) > 0
}

// Request is one request: JSON, as it would come over Redis.
func (d *direct) Request(ctx context.Context, payload []byte, accept string) (*agentapi.Answer, error) {
	arrived := time.Now()
	r, err := agentapi.Identified(payload)
	if err != nil {
		return nil, err
	}
	answer, leave := d.enter(r.ID)
	if answer == nil {
		return nil, &agentapi.Refused{Code: http.StatusTooManyRequests, Reason: fmt.Sprintf("%d requests wait already, try again later", maxDirect)}
	}
	defer leave()
	if !d.receive(r.Object, arrived) {
		return nil, &agentapi.Refused{Code: http.StatusTooManyRequests, Reason: fmt.Sprintf("more than %v requests a second (request_rate)", d.cam.RequestRate)}
	}
	if r.Timeout == 0 {
		r.Timeout = d.cam.RequestTimeout
	}
	lost := time.NewTimer(r.Timeout + directGrace)
	defer lost.Stop()
	select {
	case item := <-answer:
		return agentapi.NewAnswer(item.Message(), accept, d.render)
	case <-lost.C:
		return nil, &agentapi.Unavailable{Reason: "the agent did not answer in time"}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// enter begins to wait for the answer of that id; nil: too many wait.
func (d *direct) enter(id string) (answer <-chan *outbox.Item, leave func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := 0
	for _, w := range d.waiting {
		all += len(w)
	}
	if all >= maxDirect {
		return nil, nil
	}
	own := make(chan *outbox.Item, 1)
	d.waiting[id] = append(d.waiting[id], own)
	return own, func() { d.leave(id, own) }
}

func (d *direct) leave(id string, own chan *outbox.Item) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var others []chan *outbox.Item
	for _, c := range d.waiting[id] {
		if c != own {
			others = append(others, c)
		}
	}
	if d.waiting[id] = others; len(others) == 0 {
		delete(d.waiting, id)
	}
}
