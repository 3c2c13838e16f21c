package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"framekeeper/internal/agentapi"
	"framekeeper/pkg/frame"
)

// imageTime is how long a visitor may take to read the answer to a request; raw pixels
// are megabytes.
const imageTime = time.Minute

// Cameras is where pictures come from and requests go to. Its errors are those of
// agentapi.Client.
type Cameras interface {
	Names() []string // in the order of the configuration
	Picture(ctx context.Context, camera string, q agentapi.Query) (*agentapi.Picture, error)
	Request(ctx context.Context, camera string, request []byte, accept string) (*agentapi.Answer, error)
}

// pictures serves what there is to see of the cameras:
//
//	GET  /cameras/NAME/latest.jpg?w=&stale=   the newest exposure
//	GET  /cameras/NAME/stream.mjpeg?w=&fps=   all of them
//	POST /cameras/NAME/request                a frame of its own
//
// and, on a box with one camera, /snapshot.jpg and /stream.mjpeg.
type pictures struct {
	cameras Cameras
	feeds   feeds

	mu   sync.Mutex            // guards last
	last map[string]remembered // by camera, for when its agent cannot be asked
}

// remembered is a picture that was shown.
type remembered struct {
	*agentapi.Picture
	at time.Time
}

func newPictures(ctx context.Context, cameras Cameras) *pictures {
	return &pictures{cameras: cameras, feeds: feeds{ctx: ctx, cameras: cameras, all: map[feedKey]*feed{}}, last: map[string]remembered{}}
}

// register adds the addresses. embed: pages of other origins may show the pictures.
func (p *pictures) register(mux *http.ServeMux, embed bool) {
	shown := func(h func(w http.ResponseWriter, r *http.Request, camera string)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if embed {
				w.Header().Set("Cross-Origin-Resource-Policy", "cross-origin")
			}
			name, err := p.camera(r.PathValue("name"))
			if err != nil {
				http.Error(w, err.Error(), http.StatusNotFound)
				return
			}
			h(w, r, name)
		}
	}
	mux.HandleFunc("GET /cameras/{name}/latest.jpg", shown(p.latest))
	mux.HandleFunc("GET /cameras/{name}/stream.mjpeg", shown(p.feeds.stream))
	mux.HandleFunc("POST /cameras/{name}/request", shown(p.request))
	mux.HandleFunc("GET /snapshot.jpg", shown(p.latest))
	mux.HandleFunc("GET /stream.mjpeg", shown(p.feeds.stream))
}

// camera is the one of that name; "" is the only one.
func (p *pictures) camera(name string) (string, error) {
	names := p.cameras.Names()
	switch {
	case name == "" && len(names) == 1:
		return names[0], nil
	case slices.Contains(names, name):
		return name, nil
	case len(names) == 0:
		return "", errors.New("no camera is configured")
	case name == "":
		return "", fmt.Errorf("there are several cameras: /cameras/NAME/latest.jpg, NAME being one of %s", strings.Join(names, ", "))
	default:
		return "", fmt.Errorf("no camera %.80q; there is %s", name, strings.Join(names, ", "))
	}
}

// latest is the newest exposure, or 304 if the visitor has it.
func (p *pictures) latest(w http.ResponseWriter, r *http.Request, camera string) {
	q, err := agentapi.ParseQuery(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	q.Wait = 0
	q.After, _ = strconv.Unquote(strings.TrimPrefix(r.Header.Get("If-None-Match"), "W/"))
	picture, err := p.newest(r.Context(), camera, q)
	switch {
	case errors.Is(err, agentapi.ErrNoNewer):
		w.Header().Set("Etag", strconv.Quote(q.After))
		w.WriteHeader(http.StatusNotModified)
	case err != nil:
		refuse(w, err)
	default:
		picture.SetHeader(w.Header(), picture.Age)
		w.Header().Set("Content-Length", strconv.Itoa(len(picture.JPEG)))
		_, _ = w.Write(picture.JPEG) // the visitor may have left
	}
}

// newest asks the agent. When that cannot be asked, and an old picture will do, it is
// the last one that was shown.
func (p *pictures) newest(ctx context.Context, camera string, q agentapi.Query) (*agentapi.Picture, error) {
	picture, err := p.cameras.Picture(ctx, camera, q)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.last[camera] = remembered{picture, time.Now()}
		return picture, nil
	}
	last, ok := p.last[camera]
	if !q.Stale || !ok || errors.Is(err, agentapi.ErrNoNewer) || ctx.Err() != nil {
		return nil, err
	}
	old := *last.Picture
	old.Age, old.Stale = old.Age+time.Since(last.at), err.Error()
	return &old, nil
}

// refuse is for a picture that is not there, or must not pass for live.
func refuse(w http.ResponseWriter, err error) {
	w.Header().Set("Retry-After", "1")
	http.Error(w, err.Error(), codeOf(err))
}

// codeOf is 503 for all but what the visitor did wrong.
func codeOf(err error) int {
	var refused *agentapi.Refused
	if errors.As(err, &refused) {
		return refused.Code
	}
	return http.StatusServiceUnavailable
}

// request passes a request on, and its answer back.
func (p *pictures) request(w http.ResponseWriter, r *http.Request, camera string) {
	body, err := io.ReadAll(io.LimitReader(r.Body, frame.MaxRequestBytes+1))
	if err != nil {
		fail(w, &agentapi.Refused{Code: http.StatusBadRequest, Reason: "the request did not arrive whole"})
		return
	}
	if err := patient(w, agentapi.RequestTime); err != nil {
		fail(w, err)
		return
	}
	a, err := p.cameras.Request(r.Context(), camera, body, r.Header.Get("Accept"))
	_ = patient(w, imageTime) // from here on it is the visitor who takes time, and the image is in memory
	if a != nil && len(a.Header) > 0 {
		w.Header().Set(agentapi.HeaderAnswer, string(a.Header))
	}
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", a.ContentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.Image)))
	_, _ = w.Write(a.Image) //nolint:gosec // an image or JSON, with its type; the visitor may have left
}

// fail answers a request with the reason as JSON.
func fail(w http.ResponseWriter, err error) {
	b, _ := json.Marshal(map[string]string{"error": err.Error()}) // a text can be encoded
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(codeOf(err))
	_, _ = w.Write(append(b, '\n')) // the visitor may have left
}

// patient gives an answer more time than the server gives others.
func patient(w http.ResponseWriter, limit time.Duration) error {
	control := http.NewResponseController(w)
	return errors.Join(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Now().Add(limit)))
}
