package view

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/agentapi"
	"framekeeper/internal/status"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/redisconn"
)

const (
	// maxNoFrames is how many entries without an image may be the newest of a stream.
	maxNoFrames = 8
	// maxAge is how old an exposure may be that is asked for to be looked at.
	maxAge = 1000
	// repeatRequest is the pause until a request is published again.
	repeatRequest = time.Second
	// requestTime is how long a request may take that names no time of its own.
	requestTime = 5 * time.Second
)

// live is the session; an error says that Redis is away.
func (p *pictures) live() (*datatransfer.Session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session == nil {
		link := p.fleet.link()
		return nil, &agentapi.Unavailable{Reason: fmt.Sprintf("Redis is away: the link is %s: %s", link.State, link.Detail)}
	}
	return p.session, nil
}

// read fetches the newest frame of a camera, by the way it is delivered.
func (p *pictures) read(ctx context.Context, name string) (*frame.Message, error) {
	s, err := p.live()
	if err != nil {
		return nil, err
	}
	cam := p.fleet.camera(name)
	agent, _ := p.fleet.agent(name)
	if agent != nil && agent.Delivery == string(outbox.ModePubSub) {
		return p.hear(ctx, s, &cam, agent)
	}
	client := s.Client(camera.LargestMessage(&cam))
	defer func() { _ = client.Close() }()
	m, err := newestEntry(ctx, client, cam.FramesKey)
	return m, refusal(err, "read "+cam.FramesKey)
}

// newestEntry is the newest frame of a stream.
func newestEntry(ctx context.Context, c *redis.Client, key string) (*frame.Message, error) {
	below := "+"
	for range maxNoFrames {
		found, err := c.XRevRangeN(ctx, key, below, "-", 1).Result()
		if err != nil {
			return nil, fmt.Errorf("read the newest frame of %s: %w", key, err)
		}
		if len(found) == 0 {
			break
		}
		m, err := frame.ParseEntry(found[0].Values)
		if err != nil {
			return nil, fmt.Errorf("read entry %.60q of %s: %w", found[0].ID, key, err)
		}
		if m.Header.Status == frame.StatusOK {
			return m, nil
		}
		below = "(" + found[0].ID
	}
	return nil, &agentapi.Unavailable{Reason: "there is no frame in " + key + " yet"}
}

// hear takes the next frame that a camera publishes. One that publishes none by itself
// is asked for one that it has.
func (p *pictures) hear(ctx context.Context, s *datatransfer.Session, cam *camera.Config, agent *status.Agent) (*frame.Message, error) {
	var request []byte
	fits := func(*frame.Header) bool { return true }
	if agent.Publish == 0 {
		id := frame.NewRequestID()
		request = fmt.Appendf(nil, `{"id":%q,"max_age_ms":%d,"timeout_ms":%d}`, id, maxAge, lookTime.Milliseconds()*9/10)
		fits = func(h *frame.Header) bool { return h.RequestID() == id }
	}
	m, err := p.exchange(ctx, s, cam, request, fits)
	if err == nil && m.Header.Status != frame.StatusOK {
		err = &agentapi.Unavailable{Reason: m.Header.Error}
	}
	return m, err
}

// exchange listens to a camera's channel for the first answer or frame that fits. The
// request, if there is one, is published until it comes.
func (p *pictures) exchange(ctx context.Context, s *datatransfer.Session, cam *camera.Config, request []byte, fits func(*frame.Header) bool) (*frame.Message, error) {
	found := make(chan *frame.Message, 1)
	l := newListener(ctx, s, camera.LargestMessage(cam), func(err error) error { return err }, func(r *redis.Message) {
		m, err := frame.ParseMessage([]byte(r.Payload))
		if err != nil || m.Header.Camera != cam.Name || !fits(&m.Header) {
			return
		}
		select {
		case found <- m:
		default: // it has come already
		}
	})
	defer l.close()
	if err := l.subscribe(ctx, []string{cam.StreamTopic}); err != nil {
		return nil, refusal(err, "listen to "+cam.StreamTopic)
	}
	repeat := time.NewTicker(repeatRequest)
	defer repeat.Stop()
	for {
		if request != nil {
			if err := p.publish(ctx, s, cam, request); err != nil {
				return nil, err
			}
		}
		select {
		case m := <-found:
			return m, nil
		case err := <-l.ended:
			return nil, refusal(err, "listen to "+cam.StreamTopic)
		case <-ctx.Done():
			return nil, &agentapi.Unavailable{Reason: cam.Name + " has sent nothing in time"}
		case <-repeat.C:
		}
	}
}

// publish publishes a request. A right that is missing switches requests off.
func (p *pictures) publish(ctx context.Context, s *datatransfer.Session, cam *camera.Config, request []byte) error {
	heard, err := s.Data().Publish(ctx, cam.RequestTopic, request).Result()
	why := ""
	if redisconn.CauseOf(err) == redisconn.CausePermission {
		why = "Redis does not permit to publish on " + cam.RequestTopic
	}
	p.fleet.refuseRequests(cam.Name, why)
	switch {
	case err != nil:
		return refusal(err, "publish on "+cam.RequestTopic)
	case heard == 0:
		return &agentapi.Unavailable{Reason: "no cam-agent listens for " + cam.Name + " on " + cam.RequestTopic}
	}
	return nil
}

// refusal explains what Redis answers with an error; nil is nil.
func refusal(err error, to string) error {
	if redisconn.CauseOf(err) == redisconn.CausePermission {
		return &agentapi.Unavailable{Reason: "Redis does not permit to " + to}
	}
	return err
}

// Request has a camera answer a request, which is JSON.
func (p *pictures) Request(ctx context.Context, name string, request []byte, accept string) (*agentapi.Answer, error) {
	r, err := agentapi.Identified(request)
	if err != nil {
		return nil, err
	}
	s, err := p.live()
	if err != nil {
		return nil, err
	}
	limit := requestTime
	if r.Timeout > 0 {
		limit = r.Timeout + repeatRequest // for the agent's own "timed out" to come back
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cam := p.fleet.camera(name)
	m, err := p.exchange(ctx, s, &cam, r.Object, func(h *frame.Header) bool { return h.RequestID() == r.ID })
	if err != nil {
		return nil, err
	}
	return agentapi.NewAnswer(m, accept, func(f *camera.Frame) ([]byte, error) {
		jpeg, _, _, err := p.jpeg(ctx, &m.Header, f.Data, 8)
		return jpeg, err
	})
}

var errPixels = errors.New("its pixels do not fit its size")

// newFrame makes a frame for a Preview of an image as it is stored or sent.
func newFrame(ctx context.Context, h *frame.Header, image []byte) (*camera.Frame, error) {
	f := &camera.Frame{Data: image, Width: h.Width, Height: h.Height, Format: camera.MJPEG}
	switch h.Encoding {
	case frame.JPEG:
		j, err := camera.InspectJPEG(image)
		if err != nil {
			return nil, err
		}
		f.Width, f.Height = j.Width, j.Height
	case frame.PNG:
		bgr, err := camera.NewDecoder(camera.Default()).BGR(ctx, image, frame.PNG, h.Width, h.Height)
		if err != nil {
			return nil, err
		}
		f.Data, f.Format = bgr, camera.BGR24
	default:
		f.Format = camera.BGR24
	}
	if f.Check() != nil {
		return nil, errPixels
	}
	return f, nil
}
