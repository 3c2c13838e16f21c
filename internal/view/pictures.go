package view

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"framekeeper/internal/agentapi"
	"framekeeper/internal/async"
	"framekeeper/internal/text"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
)

const (
	// lookEvery is the pause between two pictures of a camera, however many look.
	lookEvery = time.Second
	// lookTime is how long Redis may take for one.
	lookTime = 3 * time.Second
	// unseen is how long a picture is in memory that nobody looks at.
	unseen = 10 * time.Second
	// liveFor is how old a picture may be that passes for live: an agent's
	// stall_timeout by default, and lookEvery.
	liveFor = 3 * time.Second
	// quality is of the JPEGs that are made here.
	quality = 80
)

// pictures shows the newest frame that Redis has of a camera. It is where the pages
// get them, and requests go.
type pictures struct {
	fleet *fleet

	making  chan struct{} // held by who makes a JPEG
	preview *camera.Preview

	mu      sync.Mutex            // guards all below
	session *datatransfer.Session // nil: none is LIVE
	looks   map[string]*look
}

// look is a camera that somebody looks at.
type look struct {
	asked time.Time     // when somebody did last; the pictures' mutex guards it
	turn  chan struct{} // held by who uses the rest
	begun time.Time     // when the frame was fetched
	frame *frame.Message
	err   error
	made  map[int]*agentapi.Picture // of frame, by eighths of its size
}

func newPictures(f *fleet) *pictures {
	return &pictures{fleet: f, making: make(chan struct{}, 1), preview: newPreview(), looks: map[string]*look{}}
}

// serve lends the session to whoever wants a picture.
func (p *pictures) serve(ctx context.Context, s *datatransfer.Session) error {
	p.use(s)
	defer p.use(nil)
	for async.Pause(ctx, unseen) {
		p.forget(time.Now())
	}
	return nil
}

// forget lets go of the pictures that nobody looks at any more.
func (p *pictures) forget(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.looks, func(_ string, l *look) bool { return now.Sub(l.asked) > unseen })
}

func (p *pictures) use(s *datatransfer.Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.session = s
}

// Names are the cameras that there are.
func (p *pictures) Names() []string { return p.fleet.names() }

// Picture is the newest frame of a camera as a JPEG.
func (p *pictures) Picture(ctx context.Context, name string, q agentapi.Query) (*agentapi.Picture, error) {
	for deadline := time.Now().Add(q.Wait); ; {
		picture, next, err := p.newest(ctx, name, q.Width)
		switch left := time.Until(deadline); {
		case err != nil:
			return nil, err
		case picture.Stale != "" && !q.Stale:
			return nil, &agentapi.Unavailable{Reason: picture.Stale}
		case picture.Tag != q.After:
			return picture, nil
		case !async.Pause(ctx, min(left, time.Until(next))):
			return nil, ctx.Err()
		case time.Until(deadline) <= 0:
			return nil, agentapi.ErrNoNewer
		}
	}
}

// newest is the newest frame, and when there can be a newer one.
func (p *pictures) newest(ctx context.Context, name string, width int) (*agentapi.Picture, time.Time, error) {
	l := p.look(name)
	if err := hold(ctx, l.turn); err != nil {
		return nil, time.Time{}, err
	}
	defer func() { <-l.turn }()
	if time.Since(l.begun) >= lookEvery {
		l.begun = time.Now()
		p.fetch(ctx, name, l)
	}
	next := l.begun.Add(lookEvery)
	if l.err != nil {
		return nil, next, l.err
	}
	picture, err := p.render(ctx, l, width)
	if err != nil {
		return nil, next, err
	}
	shown := *picture
	shown.Age, shown.Stale = p.age(name, l.frame, time.Now())
	return &shown, next, nil
}

// hold takes what one goroutine at a time may use.
func hold(ctx context.Context, turn chan struct{}) error {
	select {
	case turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// look is what is in memory of a camera.
func (p *pictures) look(name string) *look {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.looks[name]
	if l == nil {
		l = &look{turn: make(chan struct{}, 1)}
		p.looks[name] = l
	}
	l.asked = time.Now()
	return l
}

// fetch fetches the newest frame, for all who look: it outlasts the one who asks.
func (p *pictures) fetch(ctx context.Context, name string, l *look) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
	defer cancel()
	m, err := p.read(ctx, name)
	if l.err = err; err != nil || l.frame != nil && l.frame.Header.ID == m.Header.ID {
		return
	}
	l.frame, l.made = m, map[int]*agentapi.Picture{}
}

// render makes the picture of l's frame at a width, once.
func (p *pictures) render(ctx context.Context, l *look, width int) (*agentapi.Picture, error) {
	h := &l.frame.Header
	eighths := camera.Eighths(h.Width, width)
	if made := l.made[eighths]; made != nil {
		return made, nil
	}
	jpeg, w, height, err := p.jpeg(ctx, h, l.frame.Image(), eighths)
	if err != nil {
		return nil, fmt.Errorf("show frame %s: %w", h.ID, err)
	}
	picture := &agentapi.Picture{
		JPEG: jpeg, Width: w, Height: height, Exposure: fmt.Sprintf("%dx%d", h.Width, h.Height), Tag: h.ID.String(), FrameID: h.ID.String(), Captured: h.CapturedUS,
	}
	l.made[eighths] = picture
	return picture, nil
}

// jpeg makes one JPEG at a time: decoding takes memory.
func (p *pictures) jpeg(ctx context.Context, h *frame.Header, image []byte, eighths int) (jpeg []byte, w, height int, err error) {
	f, err := newFrame(ctx, h, image)
	if err != nil {
		return nil, 0, 0, err
	}
	if err := hold(ctx, p.making); err != nil {
		return nil, 0, 0, err
	}
	defer func() { <-p.making }()
	return p.preview.JPEG(ctx, f, eighths, quality)
}

// age is how old a frame is, and why it must not pass for live. The agent's clock is
// not ours: its statuses say how far it is off.
func (p *pictures) age(name string, m *frame.Message, now time.Time) (age time.Duration, stale string) {
	agent, ahead := p.fleet.agent(name)
	age = max(0, now.Sub(time.UnixMicro(m.Header.CapturedUS))-ahead)
	limit := liveFor
	if agent != nil && agent.Publish > 0 {
		limit = max(limit, lookEvery+time.Duration(2/agent.Publish*float64(time.Second)))
	}
	if age <= limit {
		return age, ""
	}
	stale = "the newest frame is " + text.Lasting(age) + " old"
	switch {
	case agent == nil:
		stale += "; the camera is absent"
	case agent.Capture.State != camera.StateOK:
		stale += fmt.Sprintf("; camera %s: %s", agent.Capture.State, agent.Capture.Reason)
	case agent.Publish == 0:
		stale += "; this camera sends frames on request only"
	}
	return age, stale
}
