package agent

import (
	"context"
	"fmt"
	"time"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/frame/pickle"
	"framekeeper/pkg/outbox"
)

// wire is how a camera's requests and replies are written on pub/sub.
type wire struct {
	parse func([]byte) (frame.Request, error)
	// reply writes a reply, with an image of raw pixels if its status is ok;
	// nil: a reply is the message that the stream has.
	reply func(h frame.Header, bgr []byte) ([]byte, error)
}

// wires by the setting "wire". The line of the old system's is all that joins its
// package to Framekeeper.
var wires = map[camera.Wire]wire{
	camera.WireJSON:   {parse: frame.ParseRequest},
	camera.WirePickle: {parse: pickle.ParseRequest, reply: pickle.EncodeReply},
}

// encode makes the image once for everybody who wants this frame.
func (r *responder) encode(ctx context.Context, f *camera.Frame) (camera.Image, error) {
	began := time.Now()
	img, err := r.Encoder.Encode(ctx, r.buffer, f)
	if err != nil {
		if r.counts.unencodable.Add(1) == 1 {
			r.Log.Error().Err(err).Msg("A frame could not be encoded; the status counts further failures")
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
	r.EncodeTime.Observe(took.Seconds())
	return img, nil
}

// header is what all messages of one frame share.
func (r *responder) header(f *camera.Frame, img camera.Image) frame.Header {
	return frame.Header{
		Camera: r.Camera.Name, Status: frame.StatusOK, Encoding: img.Encoding, PixelFormat: img.PixelFormat,
		Width: img.Width, Height: img.Height, CRC32C: frame.Checksum(img.Data),
		CapturedUS: r.Clock.Micros(f.Captured), SensorSeq: f.Seq,
	}
}

// answer gives a request its own message, even when two share the exposure.
func (r *responder) answer(ctx context.Context, p pending, h frame.Header, f *camera.Frame, img camera.Image) {
	h.Request, h.RequestedUS = p.Request.Object, r.Clock.Micros(p.Arrived)
	item, err := r.add(ctx, h, f, img, true)
	if err != nil {
		r.fail(p, failEncode, err)
		return
	}
	r.requests.Answer(p, item)
}

// publish sends a continuous frame.
func (r *responder) publish(ctx context.Context, h frame.Header, f *camera.Frame, img camera.Image) {
	item, err := r.add(ctx, h, f, img, false)
	if err != nil {
		r.Log.Error().Err(err).Msg("A frame could not be published")
		return
	}
	if r.Delivery.Mode == outbox.ModeBoth { // in pubsub the ChannelWriter drains the log
		r.Publisher.Frame(item)
	}
}

func (r *responder) add(ctx context.Context, h frame.Header, f *camera.Frame, img camera.Image, answer bool) (*outbox.Item, error) {
	opt := outbox.Options{Answer: answer, Unlogged: answer && !r.Delivery.Mode.Streams()}
	if r.wire.reply != nil && img.Encoding != frame.Raw && (answer || r.Delivery.Mode.Publishes()) {
		bgr, err := r.Encoder.RawBGR(ctx, nil, f)
		if err != nil {
			return nil, err
		}
		h.Width, h.Height = f.Width, f.Height
		if opt.Payload, err = r.wire.reply(h, bgr); err != nil {
			return nil, err
		}
	}
	return r.Frames.Add(opt, func(id frame.ID) (*frame.Message, error) {
		h.ID, h.PublishedUS = id, r.Clock.Now()
		return frame.NewMessage(h, img.Data)
	})
}

// published derives what the channel gets from a message that the log has: on the
// old system's wire raw pixels. nil stands for the message as it is.
func (w wire) published(d camera.Decoder) outbox.Wire {
	if w.reply == nil {
		return nil
	}
	return func(ctx context.Context, m *frame.Message) ([]byte, error) {
		h, image := m.Header, m.Image()
		if h.Status == frame.StatusOK && h.Encoding != frame.Raw { // read back from the spool
			var err error
			if image, err = d.BGR(ctx, image, h.Encoding, h.Width, h.Height); err != nil {
				return nil, fmt.Errorf("derive reply of frame %s: %w", h.ID, err)
			}
		}
		return w.reply(h, image)
	}
}

func (r *responder) fail(p pending, why failure, reason error) {
	r.counts.failed[why].Add(1)
	r.requests.Fail(p, reason)
}

// refusal makes an error reply: no ID, no stream entry.
func (r *responder) refusal(req frame.Request, arrived time.Time, reason error) (*outbox.Item, error) {
	h := frame.Header{
		Camera: r.Camera.Name, Status: frame.StatusError, Error: reason.Error(), Request: req.Object,
		RequestedUS: r.Clock.Micros(arrived), PublishedUS: r.Clock.Now(),
	}
	m, err := frame.NewMessage(h, nil)
	if err != nil {
		return nil, err
	}
	return outbox.NewItem(m), nil
}

// publishRate chooses frames so that publish_fps of them a second go out, whatever
// the camera's own rate is. It is for one goroutine.
type publishRate struct {
	interval time.Duration // 0: none
	slack    time.Duration // a frame that early is good enough
	next     time.Time
}

func newPublishRate(fps float64, frameInterval time.Duration) publishRate {
	if fps <= 0 {
		return publishRate{}
	}
	p := publishRate{interval: time.Duration(float64(time.Second) / fps)}
	p.slack = min(frameInterval, p.interval) / 2
	return p
}

// due reports whether the frame captured at t goes out.
func (p *publishRate) due(t time.Time) bool {
	if p.interval == 0 {
		return false
	}
	if t.Add(p.slack).Before(p.next) {
		return false
	}
	if p.next = p.next.Add(p.interval); !p.next.After(t) {
		p.next = t.Add(p.interval) // the first one, or frames had stopped: no burst to make up for it
	}
	return true
}
