package agent

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"framekeeper/internal/async"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/rpc"
)

// responderConfig is what a responder works with.
type responderConfig struct {
	Camera        camera.Config
	Delivery      outbox.Delivery
	Source        frameSource
	Encoder       *camera.Encoder
	Frames        frameLog
	Publisher     publisher
	Clock         *frame.Clock
	EncodeTime    prometheus.Observer      // of seconds
	CameraChanged func()                   // is called after a change of the camera's health
	Direct        func(frame.Request) bool // the request waits for no session; nil: none does
	Log           zerolog.Logger
}

// frameSource is where frames come from; *camera.Grabber is one.
type frameSource interface {
	Newer(after uint64) (f *camera.Frame, ticket uint64)
	Latest() *camera.Frame
	MayAnswer(f *camera.Frame, arrived time.Time, maxAge time.Duration) bool
	Updates() <-chan struct{}
	Health() camera.Health
	HealthChanged() <-chan struct{}
}

// frameLog gives frames their IDs; *outbox.Log is one.
type frameLog interface {
	Add(opt outbox.Options, build outbox.Build) (*outbox.Item, error)
	Room(need int64) (bytes int64, empty bool)
}

// publisher takes what is published at once; *outbox.Publisher is one.
type publisher interface {
	Answer(item *outbox.Item)
	Frame(item *outbox.Item)
	Room() (bytes int64, empty bool)
}

// responder brings together requests and frames. One goroutine, run, does all
// encoding; requests arrive on the link's.
type responder struct {
	responderConfig
	wire     wire
	requests *rpc.Server[frame.Request, *outbox.Item]
	opened   atomic.Bool   // requests are served: the first session has been admitted
	closing  atomic.Bool   // no new requests are taken
	wake     async.Wake    // for another turn of run
	done     chan struct{} // closed when run has served its last frame

	// Only run uses these.
	rate   publishRate
	ticket uint64
	buffer []byte // the encoder's, between frames
	size   int64  // of the last image
	full   bool   // requests wait because there is no room for their answers

	newRate atomic.Pointer[publishRate] // to take over; nil: none
	turns   atomic.Uint64               // of run's loop
	counts  responderCounts
}

// responderCounts count images, and requests that got an error reply.
type responderCounts struct {
	encoded, unencodable, nanoseconds atomic.Uint64
	failed                            [failures]atomic.Uint64
}

// failure is why a request that was taken in hand got an error.
type failure int

const (
	failCamera failure = iota
	failTimeout
	failMemory
	failEncode
	failures
)

func (f failure) String() string { return [...]string{"camera", "timeout", "memory", "encode"}[f] }

func newResponder(cfg responderConfig) *responder {
	r := &responder{
		responderConfig: cfg, wire: wires[cfg.Camera.Wire], wake: async.NewWake(), done: make(chan struct{}),
		rate: newPublishRate(cfg.Camera.PublishFPS, cfg.Camera.Interval()),
	}
	r.requests = rpc.NewServer(rpc.ServerConfig[frame.Request, *outbox.Item]{
		What: "request", Rate: cfg.Camera.RequestRate,
		// While Redis takes no frames, these cannot leave the log's memory: half of
		// it must stay for what comes.
		Memory: int64(cfg.Delivery.RetainBytes) / 2,
		Parse:  r.parse, ID: func(req frame.Request) string { return req.ID },
		Refuse: r.refusal, Publish: cfg.Publisher.Answer, Log: func() *zerolog.Logger { return &r.Log },
	})
	return r
}

var errStopping = errors.New("the agent is stopping")

// receive takes one message of the request channel.
func (r *responder) receive(payload []byte, arrived time.Time) (admitted bool) {
	return r.requests.Handle(payload, arrived, frame.Request{})
}

// served reports whether the request may be served now. Before open, one that came
// over Redis may be a repeat and have its answer.
func (r *responder) served(p pending) bool { return r.opened.Load() || r.direct(p) }

func (r *responder) direct(p pending) bool { return r.Direct != nil && r.Direct(p.Request) }

// parse reads a request. What comes after close is refused.
func (r *responder) parse(payload []byte, _ frame.Request) (frame.Request, error) {
	req, err := r.wire.parse(payload)
	if req.Timeout == 0 {
		req.Timeout = r.Camera.RequestTimeout
	}
	if err == nil && r.closing.Load() {
		err = errStopping
		if h := r.Source.Health(); h.State == camera.StateEnded {
			err = unavailable(h)
		}
	}
	return req, err
}

func unavailable(h camera.Health) error { return fmt.Errorf("camera %s: %s", h.State, h.Reason) }

// pending is a request that waits for its frame.
type pending = rpc.Pending[frame.Request]

func deadline(p pending) time.Time { return p.Arrived.Add(p.Request.Timeout) }

// run serves until ctx ends, or until it is closed and nothing is pending. It
// wakes for a new frame, a request, a change of the camera's health, and the
// earliest deadline.
func (r *responder) run(ctx context.Context) error {
	defer close(r.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		r.turns.Add(1)
		closing := r.closing.Load() // before serving: what came earlier is served
		r.serve(ctx)
		next := r.expire(time.Now())
		if closing && r.requests.Stats().Pending == 0 {
			return nil
		}
		if r.full {
			next = min(next, roomInterval)
		}
		timer.Reset(next)
		select {
		case <-r.wake:
		case <-r.Source.Updates():
		case <-r.requests.Arrived():
		case <-r.Source.HealthChanged():
			r.CameraChanged()
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// serve answers what the newest frame can answer, and publishes it if it is due.
func (r *responder) serve(ctx context.Context) {
	f, ticket := r.Source.Newer(r.ticket)
	fresh := f != nil
	if r.ticket = ticket; !fresh {
		if f = r.Source.Latest(); f == nil {
			return
		}
	}
	defer f.Release()
	if rate := r.newRate.Swap(nil); rate != nil {
		r.rate = *rate
	}
	answerable := r.answerable(f)
	due := fresh && !r.closing.Load() && r.rate.due(f.Captured)
	if len(answerable) == 0 && !due {
		return
	}
	img, err := r.encode(ctx, f)
	if err != nil {
		for _, p := range answerable {
			r.fail(p, failEncode, err)
		}
		return
	}
	header := r.header(f, img)
	for _, p := range answerable {
		r.answer(ctx, p, header, f, img)
	}
	if due {
		r.publish(ctx, header, f, img)
	}
}

// roomInterval is how soon the responder checks whether answers have left.
const roomInterval = 5 * time.Millisecond

// headerSize is about what a header takes beside the request it echoes.
const headerSize = 512

// answerable takes the requests this frame answers: the oldest that it may answer,
// as many as there is room for. A burst of large frames waits for the next one,
// at worst until its deadline, instead of displacing answers already made.
func (r *responder) answerable(f *camera.Frame) []pending {
	lane, idle := r.Publisher.Room()
	r.full = false
	size := r.size
	if pixels := int64(f.Width * f.Height * 3); size == 0 {
		size = pixels // nothing was encoded yet: it will hardly be more
	} else if r.wire.reply != nil {
		size += pixels
	}
	log, logEmpty := lane, idle
	if r.Delivery.Mode.Streams() {
		log, logEmpty = r.Frames.Room(size + frame.MaxRequestBytes + headerSize)
	}
	return r.requests.Take(func(p pending) bool {
		if !r.served(p) || !r.Source.MayAnswer(f, p.Arrived, p.Request.MaxAge) {
			return false
		}
		cost := size + int64(len(p.Request.Object)) + headerSize
		room, empty := min(lane, log), idle && logEmpty
		if r.direct(p) { // its answer waits for nobody
			room, empty = log, logEmpty || !r.Delivery.Mode.Streams()
		}
		if cost > room && !empty {
			r.full = true
			return false
		}
		lane, log, idle, logEmpty = lane-cost, log-cost, false, false
		return true
	})
}

// expire refuses what is too late, or cannot be served at all, and returns how
// long until the next deadline. While the camera is known to be unavailable, a
// request is refused at once; a camera that is being opened for the first time may
// be about to give a frame, and the request waits for that.
func (r *responder) expire(now time.Time) time.Duration {
	h := r.Source.Health()
	hopeless := h.State == camera.StateStalled || h.State == camera.StateRetrying || h.State == camera.StateEnded
	next := time.Hour
	late := r.requests.Take(func(p pending) bool {
		if hopeless && r.served(p) || !now.Before(deadline(p)) {
			return true
		}
		next = min(next, deadline(p).Sub(now))
		return false
	})
	for _, p := range late {
		switch {
		case hopeless:
			r.fail(p, failCamera, unavailable(h))
		case r.full:
			r.fail(p, failMemory, errors.New("timed out: answers to other requests fill the agent's memory (retain_bytes)"))
		case h.Reason != "":
			r.fail(p, failTimeout, fmt.Errorf("timed out after %s: %s", p.Request.Timeout, h.Reason))
		default:
			r.fail(p, failTimeout, fmt.Errorf("timed out: no frame was exposed within %s", p.Request.Timeout))
		}
	}
	return next
}

// open begins to serve requests. Before, one may be the repeat of a request that
// an earlier start has answered.
func (r *responder) open() {
	if !r.opened.Swap(true) {
		r.Wake()
	}
}

func (r *responder) isOpen() bool { return r.opened.Load() }

// close takes no more requests and waits until the pending ones are answered:
// afterwards nothing new enters the log.
func (r *responder) close(ctx context.Context) {
	r.closing.Store(true)
	r.Wake()
	select {
	case <-r.done:
	case <-ctx.Done():
	}
}

// SetQuality changes the JPEG quality from the next frame on.
func (r *responder) SetQuality(quality int) { r.Encoder.SetQuality(quality) }

// SetPublishFPS changes how many frames a second go out without a request, from
// the next frame on.
func (r *responder) SetPublishFPS(fps float64) {
	rate := newPublishRate(fps, r.Camera.Interval())
	r.newRate.Store(&rate)
	r.Wake()
}

// Wake makes run's loop turn once more.
func (r *responder) Wake() { r.wake.Call() }

// Turns counts the turns of run's loop; ended: it has served its last frame.
func (r *responder) Turns() (n uint64, ended bool) {
	select {
	case <-r.done:
		ended = true
	default:
	}
	return r.turns.Load(), ended
}
