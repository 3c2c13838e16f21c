package agent

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"framekeeper/internal/agentapi"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
)

// pictures shows the newest exposure to people: as a JPEG, whole or smaller, made
// once for everybody who asks for that size, and only if somebody does. It takes no
// part in requests and frames, makes no exposure, and needs no Redis.
type pictures struct {
	cam     camera.Config
	epoch   uint64
	source  pictureSource
	clock   *frame.Clock
	quality func() int // of JPEGs made here, 1 to 100

	encoding sync.Mutex // held by who makes a JPEG
	preview  *camera.Preview

	mu     sync.Mutex         // guards all below
	ticket uint64             // of the exposure that made is of
	made   map[int]*rendition // by eighths of its size
	logged loggedExposure
}

// pictureSource is where exposures come from; *camera.Grabber is one.
type pictureSource interface {
	Await(ctx context.Context, after uint64) (f *camera.Frame, ticket uint64)
	Newer(after uint64) (f *camera.Frame, ticket uint64)
	Health() camera.Health
}

// rendition is an exposure at one size.
type rendition struct {
	ready         chan struct{} // closed when all below is set
	jpeg          []byte
	width, height int
	err           error
}

// loggedExposure is the last exposure that became a frame.
type loggedExposure struct {
	captured int64 // Unix microseconds
	id       frame.ID
}

// note records that an exposure has become a frame.
func (p *pictures) note(h *frame.Header) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logged = loggedExposure{h.CapturedUS, h.ID}
}

// notedLog is a log that reports each frame it numbers.
type notedLog struct {
	frameLog
	note func(h *frame.Header)
}

// Add is that of the log.
func (l notedLog) Add(opt outbox.Options, build outbox.Build) (*outbox.Item, error) {
	item, err := l.frameLog.Add(opt, build)
	if err == nil {
		l.note(&item.Message().Header)
	}
	return item, err
}

// Picture is the newest exposure, or the one after q.After.
func (p *pictures) Picture(ctx context.Context, q agentapi.Query) (*agentapi.Picture, error) {
	f, ticket, err := p.newest(ctx, q)
	if err != nil {
		return nil, err
	}
	defer f.Release()
	stale := p.stale(f, time.Now())
	if stale != "" && !q.Stale {
		return nil, &agentapi.Unavailable{Reason: stale}
	}
	r := p.render(f, ticket, camera.Eighths(f.Width, q.Width))
	if r.err != nil {
		return nil, fmt.Errorf("show exposure: %w", r.err)
	}
	captured := p.clock.Micros(f.Captured)
	return &agentapi.Picture{
		JPEG: r.jpeg, Width: r.width, Height: r.height, Exposure: fmt.Sprintf("%dx%d", f.Width, f.Height), Tag: p.tag(ticket), FrameID: p.id(captured, ticket),
		Captured: captured, Age: time.Since(f.Captured), Stale: stale,
	}, nil
}

// newest is the exposure that q asks for, retained for the caller.
func (p *pictures) newest(ctx context.Context, q agentapi.Query) (*camera.Frame, uint64, error) {
	after := p.after(q.After)
	if f, ticket := p.source.Newer(after); f != nil {
		return f, ticket, nil
	}
	if q.Wait > 0 {
		ctx, cancel := context.WithTimeout(ctx, q.Wait)
		defer cancel()
		if f, ticket := p.source.Await(ctx, after); f != nil {
			return f, ticket, nil
		}
	}
	f, _ := p.source.Newer(0)
	if f == nil {
		h := p.source.Health()
		return nil, 0, &agentapi.Unavailable{Reason: "no exposure yet: " + cmp.Or(h.Reason, string(h.State))}
	}
	defer f.Release()
	if stale := p.stale(f, time.Now()); stale != "" {
		return nil, 0, &agentapi.Unavailable{Reason: stale}
	}
	return nil, 0, agentapi.ErrNoNewer
}

// tag names an exposure of this start.
func (p *pictures) tag(ticket uint64) string { return fmt.Sprintf("%d-%d", p.epoch, ticket) }

// after is the ticket in a tag; 0 if it is of another start, or none.
func (p *pictures) after(tag string) uint64 {
	epoch, number, _ := strings.Cut(tag, "-")
	ticket, err := strconv.ParseUint(number, 10, 64)
	if err != nil || epoch != strconv.FormatUint(p.epoch, 10) {
		return 0
	}
	return ticket
}

// id is how the frame of an exposure is found in the log, or that there is none.
func (p *pictures) id(captured int64, ticket uint64) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.logged.captured == captured {
		return p.logged.id.String()
	}
	return fmt.Sprintf("%d-e%d", p.epoch, ticket)
}

// stale is why an exposure must not pass for live; "" if it may. While the camera is
// in trouble its last *new* exposure counts: a frozen one has given others since.
func (p *pictures) stale(f *camera.Frame, now time.Time) string {
	h := p.source.Health()
	age := now.Sub(f.Captured)
	if h.State != camera.StateOK {
		age = max(age, now.Sub(h.LastFrame))
	}
	limit := p.cam.StallTimeout
	if fps := cmp.Or(h.Info.FPS, p.cam.FPS); fps > 0 {
		limit = max(limit, time.Duration(2/fps*float64(time.Second))) // as the watchdog has it
	}
	switch {
	case h.State == camera.StateEnded:
	case age <= limit:
		return ""
	}
	reason := fmt.Sprintf("the newest exposure is %s old", age.Round(100*time.Millisecond))
	if h.State != camera.StateOK {
		reason += fmt.Sprintf("; camera %s: %s", h.State, h.Reason)
	}
	return reason
}

// render makes the JPEG of that size, or waits for whoever makes it.
func (p *pictures) render(f *camera.Frame, ticket uint64, eighths int) *rendition {
	p.mu.Lock()
	if p.ticket != ticket {
		if ticket < p.ticket { // a newer exposure is being shown already
			p.mu.Unlock()
			return p.encode(&rendition{ready: make(chan struct{})}, f, eighths)
		}
		p.ticket, p.made = ticket, map[int]*rendition{}
	}
	r, there := p.made[eighths]
	if !there {
		r = &rendition{ready: make(chan struct{})}
		p.made[eighths] = r
	}
	p.mu.Unlock()
	if !there {
		return p.encode(r, f, eighths)
	}
	<-r.ready
	return r
}

// whole is the JPEG of a frame at its own size.
func (p *pictures) whole(f *camera.Frame) ([]byte, error) {
	p.encoding.Lock()
	defer p.encoding.Unlock()
	jpeg, _, _, err := p.preview.JPEG(context.Background(), f, 8, p.quality())
	return jpeg, err
}

func (p *pictures) encode(r *rendition, f *camera.Frame, eighths int) *rendition {
	defer close(r.ready)
	p.encoding.Lock()
	defer p.encoding.Unlock()
	r.jpeg, r.width, r.height, r.err = p.preview.JPEG(context.Background(), f, eighths, p.quality())
	return r
}
