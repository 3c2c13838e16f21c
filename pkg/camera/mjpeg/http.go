package mjpeg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"framekeeper/pkg/camera"
)

// httpSource reads the JPEGs of a web server: a stream of them in one answer,
// or one an answer, which is then requested again and again.
type httpSource struct {
	feed  feed
	watch watch
	info  camera.Info
	fetch *fetcher
	pacer *camera.Ticker
	get   func() (io.ReadCloser, string, error) // with a context that interrupt ends

	interrupt context.CancelFunc
	closed    chan struct{}

	single bool   // one JPEG an answer
	before uint64 // whole JPEGs before this answer
	empty  int    // answers without a whole JPEG in a row

	mu   sync.Mutex // guards body
	body io.ReadCloser
}

var (
	_ camera.Source        = (*httpSource)(nil)
	_ camera.DefectCounter = (*httpSource)(nil)
)

// openHTTP requests the URL and waits for the first JPEG.
func openHTTP(ctx context.Context, source string, cfg camera.Config) (camera.Source, error) {
	fetch, err := newFetcher(source)
	if err != nil {
		return nil, err
	}
	// What is open outlives ctx, which Next's then takes the place of.
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &httpSource{
		info:      camera.Info{Driver: "http", Latency: cfg.Interval()},
		fetch:     fetch,
		pacer:     camera.NewTicker(cfg.FPS),
		get:       func() (io.ReadCloser, string, error) { return fetch.get(life) },
		interrupt: cancel,
		closed:    make(chan struct{}),
	}
	s.feed.from(NewSplitter(nil, fetch.arrived))
	if err := s.reading(ctx, func() error { return s.begin(ctx, cfg) }); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.watch.pause()
	return s, nil
}

// begin makes the first request and reads the first JPEG.
func (s *httpSource) begin(ctx context.Context, cfg camera.Config) error {
	if _, err := s.pacer.Wait(ctx, s.closed); err != nil { // the first slot is now
		return err
	}
	kind, err := s.request()
	if err != nil {
		return err
	}
	if s.single = strings.HasPrefix(kind, "image/"); s.single {
		s.info.Driver, s.info.FPS = "http images", cfg.FPS
	}
	err = s.feed.open(&s.info)
	if s.single && errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: the server's image is no whole JPEG", camera.ErrNoData)
	}
	return err
}

// request goes on with a new answer.
func (s *httpSource) request() (kind string, err error) {
	body, kind, err := s.get()
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	if s.body != nil {
		_ = s.body.Close()
	}
	s.body = body
	s.mu.Unlock()
	s.feed.split.reset(body)
	return kind, nil
}

// Next waits for the next JPEG. After ctx has ended the source is of no more
// use and to be closed.
func (s *httpSource) Next(ctx context.Context, f *camera.Frame) error {
	return s.reading(ctx, func() error {
		for {
			err := s.feed.next(f)
			if !s.single || !errors.Is(err, io.EOF) {
				return err
			}
			if err := s.again(ctx); err != nil {
				return err
			}
		}
	})
}

// again requests the next single JPEG when it is due.
func (s *httpSource) again(ctx context.Context) error {
	s.empty++
	if s.feed.whole > s.before {
		s.before, s.empty = s.feed.whole, 0
	}
	if s.empty == maxRefused {
		return fmt.Errorf("%w: the server's images are no JPEGs", camera.ErrNoData)
	}
	if _, err := s.pacer.Wait(ctx, s.closed); err != nil {
		return err
	}
	kind, err := s.request()
	if err == nil && !strings.HasPrefix(kind, "image/") {
		return fmt.Errorf("%w: the server sends %.40q, and images before", camera.ErrNoData, kind)
	}
	return err
}

// reading does a read that the end of ctx interrupts.
func (s *httpSource) reading(ctx context.Context, read func() error) error {
	if err := s.watch.on(ctx, s.interrupt); err != nil {
		return err
	}
	err := read()
	if err == nil {
		return nil
	}
	switch {
	case errors.Is(err, camera.ErrNoData), errors.Is(err, camera.ErrNoDevice), errors.Is(err, camera.ErrBusy):
	case errors.Is(err, io.EOF):
		err = fmt.Errorf("%w: the server has ended the stream", camera.ErrNoData)
	default:
		err = fmt.Errorf("%w: read from the server: %w", camera.ErrNoData, err)
	}
	if stopped := s.watch.why(ctx, nil); stopped != nil {
		return fmt.Errorf("%w: %w", stopped, s.clue())
	}
	return err
}

// clue says what the server gave until the source was told to end.
func (s *httpSource) clue() camera.Symptom {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.body == nil {
		return "the server does not answer"
	}
	return camera.Symptom("the server has answered, but " + s.feed.split.clue())
}

// Info says what the first JPEG was; a stream does not tell its rate.
func (s *httpSource) Info() camera.Info { return s.info }

// Defects are the JPEGs that were passed over.
func (s *httpSource) Defects() camera.Defects { return s.feed.Defects() }

// Close ends the connection. It may be called more than once.
func (s *httpSource) Close() error {
	if !s.watch.off() {
		return nil
	}
	close(s.closed)
	s.interrupt() // first: a body that is being read cannot be closed
	s.mu.Lock()
	if s.body != nil {
		_ = s.body.Close()
	}
	s.mu.Unlock()
	s.fetch.transport.CloseIdleConnections()
	return nil
}
