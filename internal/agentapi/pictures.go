package agentapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"time"

	"framekeeper/pkg/frame"
)

const (
	// Patience is how long an agent may take until it begins to work on a picture
	// or a request. One that hangs costs whoever asks no more.
	Patience = 300 * time.Millisecond
	// pictureTime is how long it may take from then on: a large picture is made
	// without libjpeg-turbo.
	pictureTime = 10 * time.Second
	// MaxWait is how long a query may wait for a newer picture.
	MaxWait = 10 * time.Second
	// maxPicture bounds what is read of one picture.
	maxPicture = 128 << 20
)

// Query says which picture is wanted.
type Query struct {
	Width int           // the picture is not narrower, if the exposure is not; 0: as the camera gives it
	Stale bool          // an old one is welcome too
	After string        // the Tag of one that is known; "": none is
	Wait  time.Duration // for one that is not After, at most MaxWait
}

// Picture is the newest exposure as a JPEG.
type Picture struct {
	JPEG          []byte
	Width, Height int           // pixels
	Exposure      string        // its size: "1280x720"
	Tag           string        // differs between exposures
	FrameID       string        // the frame's ID; of an exposure that no log has "<epoch>-e<number since the agent's start>"
	Captured      int64         // Unix microseconds
	Age           time.Duration // when the agent answered
	Stale         string        // why it must not pass for live; "" if it may
}

// ErrNoNewer is returned when a query has waited in vain.
var ErrNoNewer = errors.New("no newer picture")

// Unavailable is the reason an agent gave for not showing a picture, or for not
// answering a request.
type Unavailable struct{ Reason string }

func (e *Unavailable) Error() string { return e.Reason }

// Pictures is where an agent's pictures come from. Its errors are an *Unavailable,
// ErrNoNewer, or what has failed.
type Pictures interface {
	Picture(ctx context.Context, q Query) (*Picture, error)
}

// Names of headers that carry a picture's fields, on the agent's socket and on the
// box's pages alike.
const (
	HeaderTimestamp = "X-Timestamp" // when it was exposed, in Unix seconds with six decimals
	HeaderFrameID   = "X-Frame-Id"
	HeaderAge       = "X-Age-Ms" // the same as Age, which HTTP counts in whole seconds
	HeaderSize      = "X-Image-Size"
	HeaderExposure  = "X-Exposure-Size" // before it was made smaller
	HeaderStale     = "X-Stale"         // the reason; missing if the picture is live
	HeaderAnswer    = "X-Framekeeper-Header"
)

// SetHeader writes the picture's fields, for an age that has grown by then.
func (p *Picture) SetHeader(h http.Header, age time.Duration) {
	h.Set("Content-Type", "image/jpeg")
	h.Set("Etag", `"`+p.Tag+`"`)
	h.Set(HeaderTimestamp, fmt.Sprintf("%d.%06d", p.Captured/1e6, p.Captured%1e6))
	h.Set(HeaderFrameID, p.FrameID)
	h.Set("Age", strconv.FormatInt(int64(age/time.Second), 10))
	h.Set(HeaderAge, strconv.FormatInt(age.Milliseconds(), 10))
	h.Set(HeaderSize, fmt.Sprintf("%dx%d", p.Width, p.Height))
	h.Set(HeaderExposure, p.Exposure)
	if p.Stale != "" {
		h.Set(HeaderStale, strconv.QuoteToASCII(p.Stale))
	}
}

// readHeader is the other end of SetHeader.
func (p *Picture) readHeader(h http.Header) error {
	var seconds, micros, ms int64
	if _, err := fmt.Sscanf(h.Get(HeaderTimestamp), "%d.%06d", &seconds, &micros); err != nil {
		return fmt.Errorf("read picture: %s: %w", HeaderTimestamp, err)
	}
	if _, err := fmt.Sscanf(h.Get(HeaderSize), "%dx%d", &p.Width, &p.Height); err != nil {
		return fmt.Errorf("read picture: %s: %w", HeaderSize, err)
	}
	ms, err := strconv.ParseInt(h.Get(HeaderAge), 10, 64)
	if err != nil {
		return fmt.Errorf("read picture: %s: %w", HeaderAge, err)
	}
	if stale := h.Get(HeaderStale); stale != "" {
		if p.Stale, err = strconv.Unquote(stale); err != nil {
			return fmt.Errorf("read picture: %s: %w", HeaderStale, err)
		}
	}
	p.Captured, p.Age, p.FrameID = seconds*1e6+micros, time.Duration(ms)*time.Millisecond, h.Get(HeaderFrameID)
	p.Exposure = h.Get(HeaderExposure)
	if tag, err := strconv.Unquote(h.Get("Etag")); err == nil {
		p.Tag = tag
	}
	return nil
}

// HandlePictures serves GET /picture.
func (s *Server) HandlePictures(pictures Pictures) {
	s.Handle("GET /picture", func(w http.ResponseWriter, r *http.Request) {
		q, err := ParseQuery(r.URL.Query())
		if err != nil {
			answer(w, http.StatusBadRequest, failure{err.Error()})
			return
		}
		w.WriteHeader(http.StatusProcessing) // this process turns: whoever asks may wait
		p, err := pictures.Picture(r.Context(), q)
		switch {
		case errors.Is(err, ErrNoNewer):
			w.WriteHeader(http.StatusNoContent)
		case err != nil:
			answer(w, http.StatusServiceUnavailable, failure{err.Error()})
		default:
			p.SetHeader(w.Header(), p.Age)
			_, _ = w.Write(p.JPEG) //nolint:gosec // an image, with its type; whoever asked may have gone
		}
	})
}

// ParseQuery reads a query as the socket and the box's pages take it: w, stale, and
// on the socket after and wait_ms.
func ParseQuery(v url.Values) (q Query, err error) {
	if q.Width, err = number(v, "w", 16384); err != nil {
		return q, err
	}
	ms, err := number(v, "wait_ms", int(MaxWait/time.Millisecond))
	if err != nil {
		return q, err
	}
	stale, err := number(v, "stale", 1)
	if err != nil {
		return q, err
	}
	q.Wait, q.Stale, q.After = time.Duration(ms)*time.Millisecond, stale == 1, v.Get("after")
	return q, nil
}

// number is a whole number from 0 to most; one that is missing is 0.
func number(v url.Values, key string, most int) (int, error) {
	if !v.Has(key) {
		return 0, nil
	}
	n, err := strconv.Atoi(v.Get(key))
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%s=%.20q: expected 0 to %d", key, v.Get(key), most)
	}
	return n, nil
}

func (q *Query) encode() string {
	v := url.Values{}
	if q.Width > 0 {
		v.Set("w", strconv.Itoa(q.Width))
	}
	if q.Stale {
		v.Set("stale", "1")
	}
	if q.After != "" {
		v.Set("after", q.After)
	}
	if q.Wait > 0 {
		v.Set("wait_ms", strconv.FormatInt(q.Wait.Milliseconds(), 10))
	}
	return v.Encode()
}

// Picture asks for the newest exposure.
func (c Client) Picture(ctx context.Context, q Query) (*Picture, error) {
	resp, err := c.ask(ctx, call{method: http.MethodGet, url: "/picture?" + q.encode()}, q.Wait+pictureTime)
	if err != nil {
		return nil, err
	}
	switch resp.code {
	case http.StatusOK:
		p := &Picture{JPEG: resp.body}
		return p, p.readHeader(resp.header)
	case http.StatusNoContent:
		return nil, ErrNoNewer
	}
	return nil, resp.failure()
}

// HandleStatus serves GET /status: what the agent reports of itself, as JSON.
func (s *Server) HandleStatus(status func() any) {
	s.Handle("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, status()) })
}

// Status is what the agent reports of itself, as JSON.
func (c Client) Status(ctx context.Context) ([]byte, error) {
	resp, err := c.ask(ctx, call{method: http.MethodGet, url: "/status"}, pictureTime)
	if err != nil {
		return nil, err
	}
	if resp.code != http.StatusOK {
		return nil, resp.failure()
	}
	return resp.body, nil
}

// response is an answer that has been read.
type response struct {
	code   int
	header http.Header
	body   []byte
}

// failure is the error in an answer that is none of the good ones.
func (r *response) failure() error {
	var f failure
	if frame.Decode(r.body, &f) != nil || f.Error == "" {
		f.Error = fmt.Sprintf("the agent answers with status %d", r.code)
	}
	if r.code == http.StatusServiceUnavailable {
		return &Unavailable{f.Error}
	}
	return errors.New(f.Error)
}

var errSlow = errors.New("it has begun to answer, and does not go on")

// ask calls an agent that may hang: it must begin within Patience, and be done
// within limit.
func (c Client) ask(ctx context.Context, what call, limit time.Duration) (*response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(Patience, func() {
		cancel(fmt.Errorf("%w within %d ms%s: it hangs, or the box is overloaded", ErrNoAgent, Patience.Milliseconds(), c.where()))
	})
	defer silent.Stop()
	slow := time.AfterFunc(limit+Patience, func() { cancel(errSlow) })
	defer slow.Stop()
	heard := func() { silent.Stop() }
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotFirstResponseByte: heard})
	resp, err := c.roundTrip(traced, what)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxPicture+1))
	switch cause := context.Cause(ctx); {
	case err != nil && cause != nil:
		return nil, cause
	case err != nil:
		return nil, fmt.Errorf("ask agent%s: %w", c.where(), err)
	case len(b) > maxPicture:
		return nil, fmt.Errorf("ask agent%s: the answer has more than %d bytes", c.where(), maxPicture)
	}
	return &response{resp.StatusCode, resp.Header, b}, nil
}
