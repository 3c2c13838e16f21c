package camera

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
	"framekeeper/pkg/rpc"
)

const (
	askEvery       = 50 * time.Millisecond
	requestTimeout = 8 * time.Second // the agent's
)

// capture is the camera's part of the agent's status.
type capture struct {
	State   camera.State `json:"state"`
	Reason  string       `json:"reason"`
	FPS     float64      `json:"fps"`
	Frames  uint64       `json:"frames"`
	Skipped uint64       `json:"skipped"`
	Broken  uint64       `json:"broken"`
	Defect  string       `json:"defect"`
	Reopens uint64       `json:"reopens"`
	Stalls  uint64       `json:"stalls"`
	Format  string       `json:"format"`
}

// statusReport is a status as it came.
type statusReport struct {
	at time.Time
	capture
}

// arrival is a frame as it came.
type arrival struct {
	at time.Time
	*frame.Message
}

func (s arrival) captured() time.Time { return time.UnixMicro(s.Header.CapturedUS) }

// reply is what became of a request.
type reply struct {
	sent, at time.Time
	err      error // nil: a frame
}

func (r reply) took() time.Duration { return r.at.Sub(r.sent) }

// watcher is a host: it hears the camera's status and frames and asks for one
// all the time.
type watcher struct {
	link      *datatransfer.Link
	requester *rpc.Client

	mu       sync.Mutex // guards all below
	changed  chan struct{}
	reports  []statusReport
	arrivals []arrival
	replies  []reply
}

func watch(t *testing.T, way redisconn.Config) *watcher {
	t.Helper()
	w := &watcher{changed: make(chan struct{})}
	w.requester = rpc.NewClient(rpc.ClientConfig{
		Camera: cameraName, RequestTopic: "request/" + cameraName, Timeout: patient,
	})
	w.link = datatransfer.NewLink(datatransfer.LinkConfig{
		Redis: way, Name: "watcher", Log: zerolog.Nop(), Workers: []datatransfer.Worker{w.requester.Worker()},
		Subscriptions: []datatransfer.Subscription{
			{Channel: "stream/" + cameraName, Handle: w.onMessage},
			{Channel: "status/" + cameraName, Handle: w.onStatus},
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.link.Run(ctx) })
	wg.Go(func() { w.requestLoop(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	if err := w.link.WaitLive(ctx); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *watcher) onMessage(p []byte, at time.Time) {
	m, err := frame.ParseMessage(p)
	if err != nil {
		return // frames that do not come are missed by the row
	}
	w.requester.Deliver(m)
	if m.Header.Status == frame.StatusOK {
		w.note(func() { w.arrivals = append(w.arrivals, arrival{at, m}) })
	}
}

func (w *watcher) onStatus(p []byte, at time.Time) {
	var status struct {
		Capture capture `json:"capture"`
	}
	if json.Unmarshal(p, &status) == nil {
		w.note(func() { w.reports = append(w.reports, statusReport{at, status.Capture}) })
	}
}

// requestLoop has one request open at a time.
func (w *watcher) requestLoop(ctx context.Context) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		r := reply{sent: time.Now()}
		_, r.err = w.requester.Request(ctx, nil)
		r.at = time.Now()
		var refused *rpc.ReplyError
		if r.err == nil || errors.As(r.err, &refused) { // otherwise no agent is there
			w.note(func() { w.replies = append(w.replies, r) })
		}
	}
}

func (w *watcher) note(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
	close(w.changed)
	w.changed = make(chan struct{})
}

// await waits until look, which is called with mu held, is content.
func (w *watcher) await(ctx context.Context, limit time.Duration, look func() bool) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		w.mu.Lock()
		ok, changed := look(), w.changed
		w.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-timer.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// status waits for a status that came after t and matches.
func (w *watcher) status(ctx context.Context, t time.Time, limit time.Duration, match func(capture) bool) (found statusReport, ok bool) {
	ok = w.await(ctx, limit, func() bool {
		for _, s := range w.reports {
			if s.at.After(t) && match(s.capture) {
				found = s
				return true
			}
		}
		return false
	})
	return found, ok
}

// frameAfter waits for a frame exposed after t.
func (w *watcher) frameAfter(ctx context.Context, t time.Time, limit time.Duration) (at time.Time, ok bool) {
	ok = w.await(ctx, limit, func() bool {
		for _, s := range w.arrivals {
			if s.captured().After(t) {
				at = s.at
				return true
			}
		}
		return false
	})
	return at, ok
}

// between is a copy of the frames that came, and of the answers to requests
// sent, in a span of time.
func (w *watcher) between(from, to time.Time) (arrivals []arrival, replies []reply) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.arrivals {
		if s.at.After(from) && s.at.Before(to) {
			arrivals = append(arrivals, s)
		}
	}
	for _, r := range w.replies {
		if r.at.After(from) && r.sent.Before(to) {
			replies = append(replies, r)
		}
	}
	return arrivals, replies
}

// newest is the last frame that came.
func (w *watcher) newest() arrival {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.arrivals[len(w.arrivals)-1]
}

func (w *watcher) last() capture {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.reports) == 0 {
		return capture{}
	}
	return w.reports[len(w.reports)-1].capture
}
