package receiver

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/text"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/rpc"
)

// MaxInFlight bounds the requests that wait for an answer; beyond it a request is
// skipped and counted.
const MaxInFlight = 64

const (
	angleStep = 25
	angleMax  = 1000
)

// requester makes requests all the time, and counts and logs what came of them.
type requester struct {
	client   *rpc.Client
	interval time.Duration
	counts   *counts
	log      zerolog.Logger
	newest   atomic.Pointer[frame.ID] // of the answers

	mu     sync.Mutex // guards since and failed
	since  time.Time  // since when requests fail
	failed int        // how many since then
}

func newRequester(cam *camera.Config, interval time.Duration, counts *counts, log zerolog.Logger) *requester {
	return &requester{interval: interval, counts: counts, log: log, client: rpc.NewClient(rpc.ClientConfig{
		Camera: cam.Name, RequestTopic: cam.RequestTopic, Timeout: cam.RequestTimeout + answerSlack,
	})}
}

// run sends a request every interval until ctx ends, whether or not earlier ones
// have been answered, and returns when the last has been or requests ends.
func (r *requester) run(ctx, requests context.Context) {
	ticker := time.NewTicker(r.interval)
	defer ticker.Stop()
	var inFlight sync.WaitGroup
	defer inFlight.Wait()
	slots := make(chan struct{}, MaxInFlight)
	for angle := 0; ; {
		select {
		case slots <- struct{}{}:
			sent := angle
			inFlight.Go(func() {
				r.request(requests, sent)
				<-slots
			})
			if angle += angleStep; angle > angleMax {
				angle = 0
			}
		default:
			r.counts.add(skipped, 1)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// request makes one request and counts what came of it.
func (r *requester) request(ctx context.Context, angle int) {
	tooEarly := !r.counts.seen.Load()
	r.counts.add(requests, 1)
	sent := time.Now()
	m, err := r.client.Request(ctx, map[string]any{"angle": angle})
	took := time.Since(sent)
	var refused *rpc.ReplyError
	switch {
	case err == nil:
		r.counts.add(answered, 1)
		r.counts.latency.add(took)
		r.noteNewest(m.Header.ID)
		r.logAnswer()
		if !echoes(m, angle) {
			r.counts.add(wrong, 1)
			r.log.Error().Stringer("id", m.Header.ID).Int("angle", angle).Str("request", text.Printable(string(m.Header.Request), 0)).
				Msg("An answer does not carry the angle of its request")
		}
	case errors.As(err, &refused):
		r.counts.add(errorReplies, 1)
		r.logFailure(refused)
	default:
		if tooEarly {
			r.counts.add(early, 1)
		}
		if ctx.Err() == nil { // else abandoned at the end; neither answered nor timed out
			r.counts.add(timeouts, 1)
			r.logFailure(err)
		}
	}
}

func (r *requester) noteNewest(id frame.ID) {
	for {
		old := r.newest.Load()
		if old != nil && !old.Less(id) || r.newest.CompareAndSwap(old, &id) {
			return
		}
	}
}

// echoes reports whether the answer's request carries the angle that was sent.
func echoes(m *frame.Message, angle int) bool {
	var request struct {
		Angle *int `json:"angle"`
	}
	err := frame.Decode(m.Header.Request, &request)
	return err == nil && request.Angle != nil && *request.Angle == angle
}

// logFailure logs that requests fail when they begin to.
func (r *requester) logFailure(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed++; r.failed == 1 {
		r.since = time.Now()
		r.log.Warn().Str("reason", text.Printable(err.Error(), 0)).Msg("Requests are not answered with frames")
	}
}

// logAnswer logs that requests are answered again.
func (r *requester) logAnswer() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed > 0 {
		r.log.Info().Int("failed", r.failed).Int64("lasted_ms", time.Since(r.since).Milliseconds()).Msg("Requests are answered again")
		r.failed = 0
	}
}
