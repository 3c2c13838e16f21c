package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
)

// fakeSource gives the frames that the test exposes.
type fakeSource struct {
	updates, changes chan struct{}

	mu     sync.Mutex // guards all below
	newest *camera.Frame
	n      uint64
	health camera.Health
}

func (s *fakeSource) expose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	s.newest = &camera.Frame{
		Data: make([]byte, 8*8*3), Format: camera.BGR24, Width: 8, Height: 8, Captured: time.Now(), Seq: s.n,
	}
	s.updates <- struct{}{}
}

func (s *fakeSource) set(h camera.Health) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health = h
	s.changes <- struct{}{}
}

func (s *fakeSource) Newer(after uint64) (*camera.Frame, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == after {
		return nil, after
	}
	return s.newest.Retain(), s.n
}

func (s *fakeSource) Latest() *camera.Frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil {
		return nil
	}
	return s.newest.Retain()
}

func (s *fakeSource) MayAnswer(f *camera.Frame, arrived time.Time, maxAge time.Duration) bool {
	return !f.Captured.Before(arrived.Add(-maxAge))
}

func (s *fakeSource) Health() camera.Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.health
}

func (s *fakeSource) Updates() <-chan struct{}       { return s.updates }
func (s *fakeSource) HealthChanged() <-chan struct{} { return s.changes }

// fakeLog numbers frames, and has as much room as the test gives it.
type fakeLog struct {
	mu    sync.Mutex // guards all below
	added []outbox.Options
	room  int64
}

func (l *fakeLog) Add(opt outbox.Options, build outbox.Build) (*outbox.Item, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.added = append(l.added, opt)
	m, err := build(frame.ID{Epoch: 7, Seq: uint64(len(l.added))})
	if err != nil {
		return nil, err
	}
	return outbox.NewItem(m), nil
}

func (l *fakeLog) Room(int64) (int64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.room, false
}

// fakePublisher collects what is published.
type fakePublisher struct {
	mu              sync.Mutex // guards all below
	answers, frames []*frame.Message
}

func (p *fakePublisher) Room() (int64, bool) { return 1 << 30, true }

func (p *fakePublisher) Answer(item *outbox.Item) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers = append(p.answers, item.Message())
}

func (p *fakePublisher) Frame(item *outbox.Item) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frames = append(p.frames, item.Message())
}

// summary is the answers as "request: ID or error".
func (p *fakePublisher) summary() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for _, m := range p.answers {
		what := m.Header.Error
		if m.Header.Status == frame.StatusOK {
			what = fmt.Sprintf("%s, exposure %d", m.Header.ID, m.Header.SensorSeq)
		}
		all = append(all, fmt.Sprintf("%s: %s", m.Header.Request, what))
	}
	return strings.Join(all, "\n")
}

// responderBench is a responder that runs between fakes.
type responderBench struct {
	*responder
	source    *fakeSource
	frames    *fakeLog
	published *fakePublisher
	changes   int // of the camera's health, passed on
}

// testResponder runs f beside a responder, in a bubble of synctest.
func testResponder(t *testing.T, mode outbox.Mode, fps float64, f func(b *responderBench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cam := camera.Default()
		cam.Name, cam.Encoding, cam.PublishFPS, cam.FPS, cam.RequestTimeout = "cam1", frame.Raw, fps, 30, time.Second
		b := &responderBench{
			source: &fakeSource{updates: make(chan struct{}, 1), changes: make(chan struct{}, 1)},
			frames: &fakeLog{room: 1 << 30}, published: &fakePublisher{},
		}
		b.responder = newResponder(responderConfig{
			Camera: cam, Delivery: outbox.Delivery{Mode: mode, RetainBytes: 1 << 20}, Source: b.source, Encoder: camera.NewEncoder(cam, nil),
			Frames: b.frames, Publisher: b.published, Clock: frame.NewClock(), Log: zerolog.Nop(),
			EncodeTime: prometheus.ObserverFunc(func(float64) {}), CameraChanged: func() { b.changes++ },
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- b.run(ctx) }()
		f(b)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run returned %v", err)
		}
	})
}

// request sends one and lets the responder do what it does with it.
func (b *responderBench) request(text string) {
	b.receive([]byte(text), time.Now())
	synctest.Wait()
}

func (b *responderBench) expose() {
	b.source.expose()
	synctest.Wait()
}

func (b *responderBench) want(t *testing.T, answers string) {
	t.Helper()
	synctest.Wait()
	if got := b.published.summary(); got != answers {
		t.Errorf("got the answers\n%s\nwant\n%s", got, answers)
	}
}

// A request waits for an exposure after it, unless an older one will do; each gets
// an ID of its own.
func TestResponderAnswersWithANewExposure(t *testing.T) {
	testResponder(t, outbox.ModeStream, 0, func(b *responderBench) {
		b.open()
		b.expose()
		time.Sleep(time.Millisecond)
		b.request(`{"n":1}`)
		b.want(t, "")
		b.request(`{"n":2,"max_age_ms":1000}`)
		b.request(`{"n":3}`)
		b.expose()
		b.want(t, `{"n":2,"max_age_ms":1000}: 7-1, exposure 1
{"n":1}: 7-2, exposure 2
{"n":3}: 7-3, exposure 2`)
		for _, opt := range b.frames.added {
			if opt.Unlogged || !opt.Answer {
				t.Errorf("added with %+v, want an answer that goes into the stream", opt)
			}
		}
	})
}

// Before the first session an earlier start may have answered a repeat.
func TestResponderServesNothingBeforeItIsOpen(t *testing.T) {
	testResponder(t, outbox.ModePubSub, 0, func(b *responderBench) {
		b.request(`{}`)
		b.expose()
		b.want(t, "")
		b.open()
		b.want(t, `{}: 7-1, exposure 1`)
		if !b.frames.added[0].Unlogged {
			t.Error("an answer went into the stream in delivery pubsub")
		}
	})
}

func TestResponderRefusesWhatIsTooLate(t *testing.T) {
	testResponder(t, outbox.ModeStream, 0, func(b *responderBench) {
		b.open()
		b.request(`{"n":1}`)
		b.request(`{"n":2,"timeout_ms":300}`)
		time.Sleep(300 * time.Millisecond)
		b.want(t, `{"n":2,"timeout_ms":300}: timed out: no frame was exposed within 300ms`)
		b.source.set(camera.Health{State: camera.StateOpening, Reason: "being opened"})
		time.Sleep(700 * time.Millisecond)
		b.want(t, `{"n":2,"timeout_ms":300}: timed out: no frame was exposed within 300ms
{"n":1}: timed out after 1s: being opened`)
		if got := b.counts.failed[failTimeout].Load(); got != 2 {
			t.Errorf("counted %d timeouts, want 2", got)
		}
	})
}

// A camera that is unavailable is reported at once, to those that wait too.
func TestResponderRefusesAtOnceWithoutACamera(t *testing.T) {
	testResponder(t, outbox.ModeStream, 0, func(b *responderBench) {
		b.open()
		b.request(`{"n":1}`)
		b.source.set(camera.Health{State: camera.StateRetrying, Reason: "no such camera"})
		b.want(t, `{"n":1}: camera retrying: no such camera`)
		b.request(`{"n":2}`)
		b.want(t, `{"n":1}: camera retrying: no such camera
{"n":2}: camera retrying: no such camera`)
		if got := b.counts.failed[failCamera].Load(); got != 2 || b.changes != 1 {
			t.Errorf("counted %d failures and %d changes, want 2 and 1", got, b.changes)
		}
	})
}

// Answers that find no room wait for it until their deadline.
func TestResponderWaitsForRoom(t *testing.T) {
	testResponder(t, outbox.ModeStream, 0, func(b *responderBench) {
		b.open()
		room := func(n int64) {
			b.frames.mu.Lock()
			defer b.frames.mu.Unlock()
			b.frames.room = n
		}
		room(1000) // one answer
		b.request(`{"n":1}`)
		b.request(`{"n":2}`)
		b.expose()
		b.want(t, `{"n":1}: 7-1, exposure 1`)
		room(0)
		time.Sleep(500 * time.Millisecond)
		room(1000)
		time.Sleep(roomInterval)
		b.want(t, "{\"n\":1}: 7-1, exposure 1\n{\"n\":2}: 7-2, exposure 1")
		room(0)
		b.request(`{"n":3}`)
		b.expose()
		time.Sleep(time.Second)
		synctest.Wait()
		if got := b.published.summary(); !strings.HasSuffix(got, `{"n":3}: timed out: answers to other requests fill the agent's memory (retain_bytes)`) {
			t.Errorf("got %s", got)
		}
	})
}

// The end answers what is pending, and refuses what comes later.
func TestResponderCloses(t *testing.T) {
	testResponder(t, outbox.ModeStream, 0, func(b *responderBench) {
		b.open()
		b.request(`{"n":1}`)
		closed := make(chan struct{})
		go func() { b.close(context.Background()); close(closed) }()
		synctest.Wait()
		b.request(`{"n":2}`)
		select {
		case <-closed:
			t.Error("it is closed while a request is pending")
		default:
		}
		b.expose()
		<-closed
		b.want(t, "{\"n\":2}: the agent is stopping\n{\"n\":1}: 7-1, exposure 1")
		if n, ended := b.Turns(); n == 0 || !ended {
			t.Errorf("got %d turns, ended %v", n, ended)
		}
	})
}

func TestResponderPublishesAtItsRate(t *testing.T) {
	for _, mode := range []outbox.Mode{outbox.ModeStream, outbox.ModeBoth, outbox.ModePubSub} {
		testResponder(t, mode, 10, func(b *responderBench) {
			exposeFor := func(d time.Duration) (added int) {
				before := len(b.frames.added)
				for range int(d / (time.Second / 30)) {
					b.expose()
					time.Sleep(time.Second / 30)
				}
				return len(b.frames.added) - before
			}
			if n := exposeFor(10 * time.Second); n < 99 || n > 101 {
				t.Errorf("%s: %d frames in 10 s, want 100", mode, n)
			}
			if n := len(b.published.frames); (n > 0) != (mode == outbox.ModeBoth) {
				t.Errorf("%s: %d frames were given to the publisher", mode, n)
			}
			b.SetPublishFPS(2)
			if n := exposeFor(10 * time.Second); n < 19 || n > 21 {
				t.Errorf("%s: %d frames in 10 s, want 20", mode, n)
			}
			b.SetPublishFPS(0)
			if n := exposeFor(time.Second); n > 0 {
				t.Errorf("%s: %d frames with a rate of 0", mode, n)
			}
			for _, opt := range b.frames.added {
				if opt.Unlogged || opt.Answer {
					t.Errorf("%s: added with %+v, want a frame for the stream", mode, opt)
				}
			}
		})
	}
}

// A frame that cannot be encoded ends in an error reply.
func TestResponderCountsWhatItCannotEncode(t *testing.T) {
	testResponder(t, outbox.ModeStream, 0, func(b *responderBench) {
		b.Encoder = camera.NewEncoder(camera.Config{Encoding: frame.JPEG}, func([]byte, *camera.Frame, int) ([]byte, error) {
			return nil, errors.New("no memory")
		})
		b.open()
		b.request(`{}`)
		b.expose()
		if got := b.published.summary(); !strings.Contains(got, "no memory") || b.counts.failed[failEncode].Load() != 1 || b.counts.unencodable.Load() != 1 {
			t.Errorf("got %q, want an error reply that is counted", got)
		}
	})
}
