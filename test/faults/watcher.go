package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
	"framekeeper/pkg/rpc"
	"framekeeper/pkg/stream"
)

const (
	askEvery = 100 * time.Millisecond
	askLimit = 3 * time.Second // a request waits that long for its answer
)

// shot is one entry that came out of the stream.
type shot struct {
	id       frame.ID
	status   frame.Status
	sensor   uint64
	captured time.Time
	arrived  time.Time
	request  string // the request's id; "" for a continuous frame
	first    frame.ID
}

// answer is one request that was served.
type answer struct{ at, sent time.Time }

// watcher stands where a client would: it reads the stream and asks for frames
// through a Link of its own, which has a way to Redis that the fault spares.
type watcher struct {
	link      *datatransfer.Link
	requester *rpc.Client
	consumer  *stream.Consumer
	wg        sync.WaitGroup

	mu         sync.Mutex // guards all below
	shots      []shot
	answers    []answer
	refused    int // requests answered with an error
	unanswered int
	changed    chan struct{}
}

// watch begins to read and, if asks is set, to ask ten times a second.
func watch(ctx context.Context, cfg redisconn.Config, camera string, asks bool, log zerolog.Logger) *watcher {
	w := &watcher{changed: make(chan struct{})}
	w.requester = rpc.NewClient(rpc.ClientConfig{
		Camera: camera, RequestTopic: "request/" + camera, Timeout: askLimit,
	})
	w.consumer = stream.NewConsumer(stream.ConsumerConfig{
		Key: "frames:" + camera, FromStart: true, Handle: w.take, Log: log,
	})
	w.link = datatransfer.NewLink(datatransfer.LinkConfig{
		Redis: cfg, Name: "watcher", Log: log,
		Workers: []datatransfer.Worker{w.consumer.Worker(), w.requester.Worker()},
		Subscriptions: []datatransfer.Subscription{{Channel: "stream/" + camera, Handle: func(p []byte, _ time.Time) {
			if m, err := frame.ParseMessage(p); err == nil {
				w.requester.Deliver(m)
			}
		}}},
	})
	w.wg.Go(func() { _ = w.link.Run(ctx) })
	if asks {
		w.wg.Go(func() { w.asking(ctx) })
	}
	return w
}

func (w *watcher) take(_ context.Context, m *frame.Message) error {
	h := m.Header
	s := shot{id: h.ID, status: h.Status, sensor: h.SensorSeq, captured: time.UnixMicro(h.CapturedUS), arrived: time.Now(), first: h.First}
	if len(h.Request) > 0 {
		var key struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(h.Request, &key); err != nil {
			return fmt.Errorf("read echoed request: %w", err)
		}
		s.request = key.ID
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shots = append(w.shots, s)
	w.wake()
	return nil
}

// wake wakes those who wait; the caller holds mu.
func (w *watcher) wake() {
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *watcher) asking(ctx context.Context) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for angle := 0; ; angle++ {
		select {
		case <-tick.C:
			w.wg.Go(func() { w.ask(ctx, angle%360) })
		case <-ctx.Done():
			return
		}
	}
}

func (w *watcher) ask(ctx context.Context, angle int) {
	sent := time.Now()
	_, err := w.requester.Request(ctx, map[string]any{"angle": angle})
	w.mu.Lock()
	defer w.mu.Unlock()
	var reply *rpc.ReplyError
	switch {
	case err == nil:
		w.answers = append(w.answers, answer{time.Now(), sent})
		w.wake()
	case errors.As(err, &reply):
		w.refused++
	case ctx.Err() == nil:
		w.unanswered++
	}
}

// errors is how many requests got an error, and how many nothing.
func (w *watcher) errors() (refused, unanswered int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refused, w.unanswered
}

// await waits until look is content with what is there.
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

// drained waits for a frame exposed after t. Entries come in the order of their
// exposure, so everything held back before t has come through by then.
func (w *watcher) drained(ctx context.Context, t time.Time, limit time.Duration) (arrived time.Time, ok bool) {
	return w.frame(ctx, limit, func(s shot) bool { return s.captured.After(t) })
}

// anew waits for a frame of an agent that came after the epoch.
func (w *watcher) anew(ctx context.Context, epoch uint64, limit time.Duration) (arrived time.Time, ok bool) {
	return w.frame(ctx, limit, func(s shot) bool { return s.id.Epoch > epoch })
}

// frame waits for the first frame that is wanted, and says when it arrived.
func (w *watcher) frame(ctx context.Context, limit time.Duration, wanted func(shot) bool) (arrived time.Time, ok bool) {
	from := 0
	ok = w.await(ctx, limit, func() bool {
		for ; from < len(w.shots); from++ {
			if s := w.shots[from]; s.status == frame.StatusOK && wanted(s) {
				arrived = s.arrived
				return true
			}
		}
		return false
	})
	return arrived, ok
}

// epoch is that of the last entry read.
func (w *watcher) epoch() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.shots) == 0 {
		return 0
	}
	return w.shots[len(w.shots)-1].id.Epoch
}

// answered waits for the first answer that came after t.
func (w *watcher) answered(ctx context.Context, t time.Time, limit time.Duration) (at time.Time, ok bool) {
	ok = w.await(ctx, limit, func() bool {
		for i := len(w.answers) - 1; i >= 0 && w.answers[i].at.After(t); i-- {
			at = w.answers[i].at
		}
		return !at.IsZero()
	})
	return at, ok
}

// reached waits until the entry id has been read.
func (w *watcher) reached(ctx context.Context, id frame.ID, limit time.Duration) bool {
	return w.await(ctx, limit, func() bool {
		n := len(w.shots)
		return n > 0 && !w.shots[n-1].id.Less(id)
	})
}

// seen is a copy of everything read so far.
func (w *watcher) seen() []shot {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]shot(nil), w.shots...)
}
