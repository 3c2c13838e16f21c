package agentapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
)

// Answer is the answer to a request.
type Answer struct {
	Header      []byte // JSON on one line, of ASCII only
	ContentType string // of Image
	Image       []byte
}

// Requests is what answers requests. Its errors are an *Unavailable, a *Refused, or
// what has failed.
type Requests interface {
	// Request takes a request as it would come over Redis. accept is what the asker
	// takes, in the form of HTTP's Accept.
	Request(ctx context.Context, request []byte, accept string) (*Answer, error)
}

// Refused is why a request was not taken in hand.
type Refused struct {
	Code   int // as HTTP has it
	Reason string
}

func (e *Refused) Error() string { return e.Reason }

// RequestTime is the longest a request takes: its largest timeout and what comes
// around it.
const RequestTime = frame.MaxTimeout + pictureTime

// Identified parses a request, and gives it an id if it has none. Its error is a *Refused.
func Identified(payload []byte) (frame.Request, error) {
	r, err := identified(payload)
	if err == nil {
		return r, nil
	}
	code := http.StatusBadRequest
	if len(payload) > frame.MaxRequestBytes {
		code = http.StatusRequestEntityTooLarge
	}
	return r, &Refused{Code: code, Reason: err.Error()}
}

func identified(payload []byte) (frame.Request, error) {
	r, err := frame.ParseRequest(payload)
	if err != nil || r.ID != "" {
		return r, err
	}
	var keys map[string]json.RawMessage
	if err := frame.Decode(r.Object, &keys); err != nil {
		return r, fmt.Errorf("read request: %w", err)
	}
	if _, empty := keys["id"]; empty {
		return r, errors.New(`id is "": leave it out, or make it differ between requests`)
	}
	object := fmt.Appendf(nil, `{"id":%q`, frame.NewRequestID())
	if len(keys) > 0 {
		object = append(object, ',')
	}
	return frame.ParseRequest(append(object, r.Object[1:]...))
}

// NewAnswer is a message as HTTP has it, for who accepts that. render makes a JPEG for
// who cannot look at raw pixels.
func NewAnswer(m *frame.Message, accept string, render func(f *camera.Frame) (jpeg []byte, err error)) (*Answer, error) {
	a := &Answer{Header: ASCII(m.HeaderJSON())}
	h := &m.Header
	switch {
	case h.Status == frame.StatusError:
		return a, &Unavailable{Reason: h.Error}
	case strings.Contains(accept, "application/json"):
		a.ContentType, a.Image = "application/json", append(bytes.Clone(a.Header), '\n')
	case h.Encoding == frame.Raw && !strings.Contains(accept, "application/octet-stream"):
		jpeg, err := render(&camera.Frame{Data: m.Image(), Format: camera.BGR24, Width: h.Width, Height: h.Height})
		if err != nil {
			return a, fmt.Errorf("show frame: %w", err)
		}
		a.ContentType, a.Image = "image/jpeg", jpeg
	case h.Encoding == frame.Raw:
		a.ContentType, a.Image = "application/octet-stream", m.Image()
	default:
		a.ContentType, a.Image = "image/"+string(h.Encoding), m.Image()
	}
	return a, nil
}

// HandleRequests serves POST /request.
func (s *Server) HandleRequests(requests Requests) {
	s.Handle("POST /request", func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		body, err := io.ReadAll(io.LimitReader(r.Body, frame.MaxRequestBytes+1))
		if err == nil { // the answer may take longer than what the server allows
			err = errors.Join(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Now().Add(RequestTime)))
		}
		if err != nil {
			answer(w, http.StatusBadRequest, failure{fmt.Sprintf("read request: %v", err)})
			return
		}
		w.WriteHeader(http.StatusProcessing)
		a, err := requests.Request(r.Context(), body, r.Header.Get("Accept"))
		if a != nil {
			w.Header().Set(HeaderAnswer, string(a.Header))
		}
		var refused *Refused
		switch {
		case errors.As(err, &refused):
			answer(w, refused.Code, failure{refused.Reason})
		case err != nil:
			answer(w, http.StatusServiceUnavailable, failure{err.Error()})
		default:
			w.Header().Set("Content-Type", a.ContentType)
			_, _ = w.Write(a.Image) //nolint:gosec // an image, with its type; whoever asked may have gone
		}
	})
}

// Request makes a request and waits for its answer. An error reply is an error with
// an Answer that has its header.
func (c Client) Request(ctx context.Context, request []byte, accept string) (*Answer, error) {
	resp, err := c.ask(ctx, call{http.MethodPost, "/request", request, accept}, RequestTime)
	if err != nil {
		return nil, err
	}
	a := &Answer{Header: []byte(resp.header.Get(HeaderAnswer)), ContentType: resp.header.Get("Content-Type"), Image: resp.body}
	if resp.code == http.StatusOK {
		return a, nil
	}
	err = resp.failure()
	if resp.code >= 400 && resp.code < 500 {
		err = &Refused{resp.code, err.Error()}
	}
	a.Image = nil
	return a, err
}

// ASCII is JSON on one line with all that is beyond ASCII escaped, so that it may
// stand in a header of HTTP.
func ASCII(text []byte) []byte {
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch text = text[n:]; {
		case r < utf8.RuneSelf:
			b.WriteByte(byte(r))
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return []byte(b.String())
}
