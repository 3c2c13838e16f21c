package agentapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

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
