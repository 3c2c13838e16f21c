package mjpeg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"framekeeper/pkg/camera"
)

// httpSource reads the JPEGs of a web server: a stream of them in one answer,
// or one an answer, which is then requested again and again. The bytes decide what
// is a JPEG, and the answer's framing whether it is one image; servers are careless
// with the type they state.
type httpSource struct {
	stream
	fetch  *fetcher
	ticker *camera.Ticker
	get    func() (*http.Response, error) // with a context that interrupt ends
	ended  <-chan struct{}                // closed by interrupt

	kind   string // media type of this answer
	sized  bool   // its length is known
	before uint64 // whole JPEGs before it
	empty  int    // answers without a whole JPEG in a row

	bodyMu sync.Mutex // guards body
	body   io.ReadCloser
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
	open, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &httpSource{
		fetch:  fetch,
		ticker: camera.NewTicker(cfg.FPS),
		get:    func() (*http.Response, error) { return fetch.get(open) },
		ended:  open.Done(),
	}
	s.info = camera.Info{Driver: "http", Latency: cfg.Interval()}
	s.interrupt, s.symptom, s.explain = cancel, s.received, s.readError
	s.use(NewSplitter(nil, fetch.arrived))
	if err := s.read(ctx, func() error { return s.start(ctx, cfg) }); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.forget()
	return s, nil
}

// start makes the first request and reads the first JPEG.
func (s *httpSource) start(ctx context.Context, cfg camera.Config) error {
	if _, err := s.ticker.Wait(ctx, s.ended); err != nil { // the first slot is now
		return err
	}
	begun := time.Now()
	if err := s.request(); err != nil {
		return err
	}
	err := s.begin()
	took := time.Since(begun)
	if s.single() {
		s.info.Driver, s.info.FPS = "http images", cfg.FPS
		if took > cfg.StallTimeout/2 { // it is slow, and not to be taken for one that has stalled
			s.info.FPS = min(cfg.FPS, 1/took.Seconds())
		}
	}
	if errors.Is(err, io.EOF) && s.again() {
		return fmt.Errorf("%w: the server's image is no whole JPEG", camera.ErrNoData)
	}
	return err
}

// request goes on with a new answer.
func (s *httpSource) request() error {
	s.closeBody(nil)
	answer, err := s.get() //nolint:bodyclose // closeBody does
	if err != nil {
		return err
	}
	s.kind, s.sized, s.before = mediaType(answer), answer.ContentLength >= 0, s.whole
	s.closeBody(answer.Body)
	if isOffline([]byte(answer.Header.Get(onlineHeader))) {
		s.AddDefect(errOffline.Error())
		return errOffline
	}
	s.split.reset(answer.Body)
	return nil
}

// single reports whether the answer is one image, known before it is read.
func (s *httpSource) single() bool {
	return strings.HasPrefix(s.kind, "image/") || s.sized && !strings.HasPrefix(s.kind, "multipart/")
}

// again reports whether the answer that has ended was one image, after which the
// next one is requested.
func (s *httpSource) again() bool {
	came := s.whole - s.before
	if came == 0 && !mayBeJPEGs(s.kind) {
		return false
	}
	return s.single() || came == 1 && !strings.HasPrefix(s.kind, "multipart/")
}

// closeBody closes the present answer's body and puts the next one in its place.
func (s *httpSource) closeBody(next io.ReadCloser) {
	s.bodyMu.Lock()
	defer s.bodyMu.Unlock()
	if s.body != nil {
		_ = s.body.Close()
	}
	s.body = next
}

// Next waits for the next JPEG. After ctx has ended the source is of no more
// use and to be closed.
func (s *httpSource) Next(ctx context.Context, f *camera.Frame) error {
	return s.read(ctx, func() error {
		for {
			err := s.next(f)
			if !errors.Is(err, io.EOF) || !s.again() {
				return err
			}
			if err := s.requestNext(ctx); err != nil {
				return err
			}
		}
	})
}

// requestNext requests the next single JPEG when it is due.
func (s *httpSource) requestNext(ctx context.Context) error {
	s.empty++
	if s.whole > s.before {
		s.empty = 0
	}
	if s.empty == maxRefused {
		return fmt.Errorf("%w: the server's images are no JPEGs", camera.ErrNoData)
	}
	if _, err := s.ticker.Wait(ctx, s.ended); err != nil {
		return err
	}
	return s.request()
}

func (s *httpSource) readError(_ context.Context, err error) error {
	switch ended := errors.Is(err, io.EOF); {
	case ended && s.whole == s.before && !mayBeJPEGs(s.kind):
		return fmt.Errorf("%w: the server sends %.40q, expected multipart/x-mixed-replace or image/jpeg", camera.ErrNoData, s.kind)
	case ended:
		return fmt.Errorf("%w: the server has ended the stream", camera.ErrNoData)
	}
	return fmt.Errorf("%w: read from the server: %w", camera.ErrNoData, err)
}

// received is what the server gave until the source was stopped.
func (s *httpSource) received() camera.Symptom {
	s.bodyMu.Lock()
	defer s.bodyMu.Unlock()
	if s.body == nil {
		return "the server does not answer"
	}
	return camera.Symptom("the server has answered, but " + s.split.symptom())
}

// Close ends the connection. It may be called more than once.
func (s *httpSource) Close() error {
	if !s.close() {
		return nil
	}
	s.interrupt() // first: a body that is being read cannot be closed
	s.closeBody(nil)
	s.fetch.transport.CloseIdleConnections()
	return nil
}
