package agent

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/rpc"
)

// responder brings together requests and frames. One goroutine, run, does all
// encoding; requests arrive on the link's.
type responder struct {
	a        *agent
	encoder  *camera.Encoder
	wire     wire
	requests *rpc.Server[frame.Request, *outbox.Item]
	opened   atomic.Bool   // requests are served: the first session has looked around
	closing  atomic.Bool   // no new requests are taken
	wake     chan struct{} // one of the two was set; capacity 1
	done     chan struct{} // closed when run has served its last frame

	// Only run uses these.
	pace   pace
	ticket uint64
	buffer []byte // the encoder's, between frames
	size   int64  // of the last image

	paced   atomic.Pointer[pace] // the pace to take over; nil: none
	turns   atomic.Uint64        // of run's loop, so that others see that it moves
	crowded bool                 // requests wait because there is no room for their answers
	counts  encodeCounts
}

type encodeCounts struct {
	encoded, failed, nanoseconds atomic.Uint64
}

func newResponder(a *agent, encoder *camera.Encoder) *responder {
	r := &responder{
		a: a, encoder: encoder, wire: wires[a.cam.Wire], wake: make(chan struct{}, 1), done: make(chan struct{}),
		pace: newPace(a.cam.PublishFPS, a.cam.Interval()),
	}
	r.requests = rpc.NewServer(rpc.ServerConfig[frame.Request, *outbox.Item]{
		What: "requests", Rate: a.cam.RequestRate,
		// While Redis takes no frames, these cannot leave the outbox's memory:
		// half of it must stay for what comes.
		Memory: int64(a.cfg.Delivery.RetainBytes) / 2,
		Parse:  r.parse, ID: func(req frame.Request) string { return req.ID },
		Refuse: r.refusal, Publish: a.publisher.Answer, Log: func() *zerolog.Logger { return &a.log },
	})
	return r
}

var errStopping = errors.New("the agent is stopping")

// receive takes one message of the request channel.
func (r *responder) receive(payload []byte, arrived time.Time) {
	r.requests.Handle(payload, arrived, frame.Request{})
}

// parse reads a request. It refuses whatever comes after close.
func (r *responder) parse(payload []byte, _ frame.Request) (frame.Request, error) {
	req, err := r.wire.parse(payload)
	if req.Timeout == 0 {
		req.Timeout = r.a.cam.RequestTimeout
	}
	if err == nil && r.closing.Load() {
		err = r.whyClosing()
	}
	return req, err
}

// whyClosing is what a request is told that comes too late.
func (r *responder) whyClosing() error {
	if h := r.a.grabber.Health(); h.State == camera.StateEnded {
		return lostError(h)
	}
	return errStopping
}

func lostError(h camera.Health) error { return fmt.Errorf("camera %s: %s", h.State, h.Reason) }

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
		r.serve()
		next := r.expire(time.Now())
		if closing && r.requests.Stats().Pending == 0 {
			return nil
		}
		if r.crowded {
			next = min(next, crowdedWait)
		}
		timer.Reset(next)
		select {
		case <-r.wake:
		case <-r.a.grabber.Updates():
		case <-r.requests.Arrived():
		case <-r.a.grabber.HealthChanged():
			r.a.wantStatus()
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// serve answers what the newest frame can answer, and publishes it if it is due.
func (r *responder) serve() {
	f, ticket := r.a.grabber.Newer(r.ticket)
	fresh := f != nil
	if r.ticket = ticket; !fresh {
		if f = r.a.grabber.Latest(); f == nil {
			return
		}
	}
	defer f.Release()
	if p := r.paced.Swap(nil); p != nil {
		r.pace = *p
	}
	asked := r.take(f)
	due := fresh && !r.closing.Load() && r.pace.due(f.Captured)
	if len(asked) == 0 && !due {
		return
	}
	img, err := r.encode(f)
	if err != nil {
		for _, p := range asked {
			r.fail(p, failEncode, err)
		}
		return
	}
	header := r.header(f, img)
	for _, p := range asked {
		r.answer(p, header, f, img)
	}
	if due {
		r.publish(header, f, img)
	}
}

// take chooses the requests this frame answers: the oldest that it may answer,
// as many as there is room for. A burst of large frames waits for the next one,
// at worst until its deadline, instead of pushing out answers already made.
func (r *responder) take(f *camera.Frame) []pending {
	if !r.opened.Load() {
		return nil
	}
	lane, idle := r.a.publisher.Room()
	room, empty := r.a.outbox.Room()
	room, empty = min(room, lane), empty && idle
	r.crowded = false
	size := r.size
	if pixels := int64(f.Width * f.Height * 3); size == 0 {
		size = pixels // nothing was encoded yet: it will hardly be more
	} else if r.wire.reply != nil {
		size += pixels
	}
	return r.requests.Take(func(p pending) bool {
		if !r.a.grabber.MayAnswer(f, p.Arrived, p.Request.MaxAge) {
			return false
		}
		cost := size + int64(len(p.Request.Object)) + headerSize
		if cost > room && !empty {
			r.crowded = true
			return false
		}
		room, empty = room-cost, false
		return true
	})
}

// crowdedWait is how soon to look whether answers have left.
const crowdedWait = 5 * time.Millisecond

// headerSize is about what a header takes beside the request it echoes.
const headerSize = 512

// encode makes the image once for everybody who wants this frame.
func (r *responder) encode(f *camera.Frame) (camera.Image, error) {
	began := time.Now()
	img, err := r.encoder.Encode(r.buffer, f)
	if err != nil {
		if r.counts.failed.Add(1) == 1 {
			r.a.log.Error().Err(err).Msg("a frame could not be encoded (logged once, counted in the status)")
		}
		return img, err
	}
	r.size = int64(len(img.Data))
	if len(img.Data) > 0 && (len(f.Data) == 0 || &img.Data[0] != &f.Data[0]) {
		r.buffer = img.Data // ours, not the frame's own bytes passed through
	}
	r.counts.encoded.Add(1)
	took := time.Since(began)
	r.counts.nanoseconds.Add(uint64(took))
	r.a.meters.encode.Observe(took.Seconds())
	return img, nil
}

// header is what all messages of one frame share.
func (r *responder) header(f *camera.Frame, img camera.Image) frame.Header {
	return frame.Header{
		Camera: r.a.cam.Name, Status: frame.StatusOK, Encoding: img.Encoding, PixelFormat: img.PixelFormat,
		Width: img.Width, Height: img.Height, CRC32C: frame.Checksum(img.Data),
		CapturedUS: r.a.clock.Micros(f.Captured), SensorSeq: f.Seq,
	}
}

// answer gives a request its own message, even when two share the exposure.
func (r *responder) answer(p pending, h frame.Header, f *camera.Frame, img camera.Image) {
	h.Request, h.RequestedUS = p.Request.Object, r.a.clock.Micros(p.Arrived)
	item, err := r.add(h, f, img, true)
	if err != nil {
		r.fail(p, failEncode, err)
		return
	}
	r.requests.Answer(p, item)
}

// publish sends a continuous frame.
func (r *responder) publish(h frame.Header, f *camera.Frame, img camera.Image) {
	item, err := r.add(h, f, img, false)
	if err != nil {
		r.a.log.Error().Err(err).Msg("a frame could not be published")
		return
	}
	if r.a.cfg.Delivery.Mode == outbox.ModeBoth { // in pubsub the Broadcaster drains the outbox
		r.a.publisher.Frame(item)
	}
}

func (r *responder) add(h frame.Header, f *camera.Frame, img camera.Image, answer bool) (*outbox.Item, error) {
	opt := outbox.Options{Stream: r.a.cfg.Delivery.Mode.Streams() || !answer, Answer: answer}
	if r.wire.reply != nil && (answer || r.a.cfg.Delivery.Mode.Publishes()) {
		var err error
		if opt.Payload, err = r.rawReply(h, f); err != nil {
			return nil, err
		}
	}
	return r.a.outbox.Add(opt, func(id frame.ID) (*frame.Message, error) {
		h.ID, h.PublishedUS = id, r.a.clock.Now()
		return frame.NewMessage(h, img.Data)
	})
}

// rawReply is the frame in the wire's own reply, as raw pixels whatever the
// camera's encoding.
func (r *responder) rawReply(h frame.Header, f *camera.Frame) ([]byte, error) {
	bgr, err := r.encoder.RawBGR(nil, f)
	if err != nil {
		return nil, err
	}
	h.Width, h.Height = f.Width, f.Height
	return r.wire.reply(h, bgr)
}

// expire refuses what is too late, or cannot be served at all, and says when to
// look again. While the camera is known to be lost, whoever asks is told so at
// once; one that is being opened for the first time may be about to give a
// frame, and that is waited for.
func (r *responder) expire(now time.Time) time.Duration {
	h := r.a.grabber.Health()
	lost := h.State == camera.StateStalled || h.State == camera.StateRetrying || h.State == camera.StateEnded
	hopeless := lost && r.opened.Load() // before that, it may be a repeat and have its answer
	next := time.Hour
	late := r.requests.Take(func(p pending) bool {
		if hopeless || !now.Before(deadline(p)) {
			return true
		}
		next = min(next, deadline(p).Sub(now))
		return false
	})
	for _, p := range late {
		switch {
		case hopeless:
			r.fail(p, failCamera, lostError(h))
		case r.crowded:
			r.fail(p, failMemory, fmt.Errorf("timed out: answers to other requests fill the agent's memory (retain_bytes)"))
		case h.Reason != "":
			r.fail(p, failTimeout, fmt.Errorf("timed out after %s: %s", p.Request.Timeout, h.Reason))
		default:
			r.fail(p, failTimeout, fmt.Errorf("timed out: no frame was exposed within %s", p.Request.Timeout))
		}
	}
	return next
}

func (r *responder) fail(p pending, why failure, reason error) {
	r.a.meters.failed[why].Add(1)
	r.requests.Fail(p, reason)
}

// refusal makes an error reply: no ID, no stream entry.
func (r *responder) refusal(req frame.Request, arrived time.Time, reason error) (*outbox.Item, error) {
	h := frame.Header{
		Camera: r.a.cam.Name, Status: frame.StatusError, Error: reason.Error(), Request: req.Object,
		RequestedUS: r.a.clock.Micros(arrived), PublishedUS: r.a.clock.Now(),
	}
	m, err := frame.NewMessage(h, nil)
	if err != nil {
		return nil, err
	}
	var payload []byte
	if r.wire.reply != nil {
		if payload, err = r.wire.reply(h, nil); err != nil {
			return nil, err
		}
	}
	return outbox.NewItem(m, payload), nil
}

// open begins to serve requests. Before, one may be the repeat of a request
// that an earlier start has answered.
func (r *responder) open() {
	if !r.opened.Swap(true) {
		r.poke()
	}
}

func (r *responder) isOpen() bool { return r.opened.Load() }

// setPace changes how many frames go out unasked, from the next frame on.
func (r *responder) setPace(p pace) {
	r.paced.Store(&p)
	r.poke()
}

func (r *responder) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// close takes no more requests and waits until the pending ones are answered:
// afterwards nothing new enters the outbox.
func (r *responder) close(ctx context.Context) {
	r.closing.Store(true)
	r.poke()
	select {
	case <-r.done:
	case <-ctx.Done():
	}
}
