package client

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/configfile"
	"framekeeper/internal/images"
	"framekeeper/internal/text"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/rpc"
	"framekeeper/pkg/stream"
)

// answerSlack is how much longer than the agent's request_timeout an answer
// may take, so that a request made just before Redis goes away is still
// answered when it returns.
const answerSlack = 5 * time.Second

// feed is everything about one camera.
type feed struct {
	cam       *camera.Config
	interval  time.Duration
	log       zerolog.Logger
	store     *images.Store         // nil: nothing is stored
	queue     *queue                // for delivery by pub/sub alone
	requester *rpc.Client           // nil: no requests are made
	follower  *follower             // reads the stream alone
	pool      *stream.GroupConsumer // reads the stream with others; without both delivery is by pub/sub alone

	latency  histogram
	answered atomic.Pointer[frame.ID] // the newest answer's ID
	seen     atomic.Bool              // the camera's agent has published something since we began
	refusal  atomic.Pointer[error]    // why the disk does not take images at present
	counts   counts
}

// counts are a feed's counters; all of them only grow.
type counts struct {
	requests, answers, errors, timeouts, skipped atomic.Uint64
	early                                        atomic.Uint64 // unanswered requests from before seen
	wrong                                        atomic.Uint64 // answers that do not echo what was asked
	malformed                                    atomic.Uint64 // messages that are none of this camera's
	frames, stored, duplicates                   atomic.Uint64
	corrupt, failed, dropped                     atomic.Uint64
	storedBytes                                  atomic.Uint64
}

func newFeed(
	cfg *configfile.Config, cam *camera.Config, flags runFlags, worker string, store *images.Store, q *queue, log zerolog.Logger,
) *feed {
	f := &feed{
		cam: cam, interval: cfg.Client.RequestInterval, store: store, queue: q,
		log: log.With().Str("camera", cam.Name).Logger(),
	}
	if !flags.noRequests {
		f.requester = rpc.NewClient(rpc.ClientConfig{
			Camera: cam.Name, RequestTopic: cam.RequestTopic, Timeout: cam.RequestTimeout + answerSlack,
		})
	}
	switch {
	case flags.grouped:
		f.pool = newPool(f, flags.group, worker)
	case cfg.Delivery.Mode.Streams():
		f.follower = newFollower(f)
	}
	return f
}

// reads says whether frames come through the stream.
func (f *feed) reads() bool { return f.follower != nil || f.pool != nil }

func (f *feed) workers() []datatransfer.Worker {
	var w []datatransfer.Worker
	if f.requester != nil {
		w = append(w, f.requester.Worker())
	}
	if f.follower != nil {
		w = append(w, datatransfer.Worker{Name: "read frames", Run: f.follower.run})
	}
	if f.pool != nil {
		w = append(w, f.pool.Worker())
	}
	return w
}

// receive takes what is published on the camera's stream topic. It is called
// from the goroutine that receives, so it never waits.
func (f *feed) receive(payload []byte, _ time.Time) {
	m, err := frame.ParseMessage(payload)
	if m == nil || m.Header.Camera != f.cam.Name {
		f.counts.malformed.Add(1)
		return
	}
	f.seen.Store(true)
	if f.requester != nil && err == nil {
		f.requester.Deliver(m)
	}
	if f.reads() || m.Header.Status != frame.StatusOK {
		return
	}
	f.counts.frames.Add(1)
	if f.store != nil && !f.queue.push(f, m) { // damaged ones too: the store sets them aside
		f.counts.dropped.Add(1)
	}
}

// consume takes the entries of the camera's stream: in order, each once, or
// this worker's share of them.
func (f *feed) consume(ctx context.Context, m *frame.Message) error {
	switch m.Header.Status {
	case frame.StatusOK:
		if err := f.keep(ctx, m); err != nil {
			return err // the session ends, and the next one brings this frame again
		}
		f.counts.frames.Add(1)
	case frame.StatusDropped:
		f.log.Warn().Stringer("first", m.Header.First).Stringer("last", m.Header.Last).Uint64("count", m.Header.Count).
			Str("reason", text.Printable(m.Header.Reason, 0)).Msg("The agent lost frames")
	case frame.StatusStarted:
		f.log.Info().Stringer("id", m.Header.ID).Msg("The agent has started")
	}
	return nil
}
