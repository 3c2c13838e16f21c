package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"framekeeper/internal/agentapi"
	"framekeeper/internal/async"
)

const (
	// pullTime is how long one call waits for the next exposure.
	pullTime = 2 * time.Second
	// retryPull is the pause after a call that failed.
	retryPull = 500 * time.Millisecond
	// silentFeed is how old the last picture may be while the agent does not answer.
	silentFeed = 2 * time.Second
	// repeatCrossed is how often viewers get the crossed-out picture of a camera that
	// gives none, so that one that has left is noticed.
	repeatCrossed = 5 * time.Second
	// viewerTime is how long a viewer may take to read one picture.
	viewerTime = 20 * time.Second
	// viewerBuffer is how much the kernel holds for a viewer who does not read, in
	// bytes: what is older than that need not be seen.
	viewerBuffer = 256 << 10
	// minFPS and maxFPS bound ?fps=. A viewer at the least sees a camera's end within
	// 10 s and a call.
	minFPS, maxFPS = 0.1, 1000
	// maxFeeds is how many sizes and rates of one camera are streamed at a time: each
	// costs the agent a call for every exposure, and a size an encoding.
	maxFeeds = 8
)

// feedKey is what viewers can share.
type feedKey struct {
	camera string
	width  int
	fps    float64 // 0: all there are
}

// special says that not every exposure is wanted as the camera gives it.
func (k feedKey) special() bool { return k.width != 0 || k.fps != 0 }

// feeds are the streams that somebody looks at: one call to the agent for each
// exposure, however many do. Nobody looks, nothing is called.
type feeds struct {
	ctx     context.Context //nolint:containedctx // of the server: streams end with it
	cameras Cameras

	running sync.WaitGroup

	crossing sync.Mutex // held by who crosses out a picture: however many do, it takes memory once

	mu  sync.Mutex // guards all, and the viewers of each feed
	all map[feedKey]*feed
}

// feed has the pictures of one camera at one size and rate.
type feed struct {
	feedKey
	end     context.CancelFunc
	viewers map[viewer]struct{}
}

// viewer receives the newest picture; one that was not fetched is replaced.
type viewer chan *agentapi.Picture

// join makes a viewer of the feed. leave is to be called once.
func (f *feeds) join(key feedKey) (v viewer, leave func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := f.all[key]
	if one == nil && key.special() && f.count(key.camera) >= maxFeeds {
		return nil, nil, fmt.Errorf("%d streams of %s with other w and fps are being watched, and no more are made: ask for the same as others, or without w and fps", maxFeeds, key.camera)
	}
	if one == nil {
		ctx, cancel := context.WithCancel(f.ctx)
		one = &feed{key, cancel, map[viewer]struct{}{}}
		f.all[key] = one
		f.running.Go(func() { f.run(ctx, one) }) // ends with its last viewer, or the server
	}
	v = make(viewer, 1)
	one.viewers[v] = struct{}{}
	return v, func() { f.leave(one, v) }, nil
}

// count is how many feeds a camera has with a width or a rate. The caller holds mu.
func (f *feeds) count(camera string) (n int) {
	for key := range f.all {
		if key.camera == camera && key.special() {
			n++
		}
	}
	return n
}

func (f *feeds) leave(one *feed, v viewer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if delete(one.viewers, v); len(one.viewers) == 0 {
		one.end()
		delete(f.all, one.feedKey)
	}
}

// show gives every viewer the picture in the place of one that it has not fetched.
func (f *feeds) show(one *feed, p *agentapi.Picture) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for v := range one.viewers {
		select {
		case <-v:
		default:
		}
		v <- p
	}
}

// run asks for one exposure after the other. While there is none it shows the last
// one, crossed out.
func (f *feeds) run(ctx context.Context, one *feed) {
	pace := pace{fps: one.fps}
	var last, crossed *agentapi.Picture
	var shown, repeated time.Time // when the last, and the crossed-out one, were shown
	for q := (agentapi.Query{Width: one.width, Wait: pullTime}); ctx.Err() == nil; {
		p, err := f.cameras.Picture(ctx, one.camera, q)
		switch {
		case err == nil:
			q.After, last, crossed, shown, repeated = p.Tag, p, nil, time.Now(), time.Time{}
			f.show(one, p)
			pace.rest(ctx, shown)
			continue
		case errors.Is(err, agentapi.ErrNoNewer):
			continue
		}
		var verdict *agentapi.Unavailable // of the agent itself
		dead := errors.As(err, &verdict) || time.Since(shown) > silentFeed
		if last != nil && crossed == nil && dead {
			crossed = f.crossOut(last, err.Error())
		}
		if now := time.Now(); crossed != nil && now.Sub(repeated) >= repeatCrossed {
			repeated = now
			f.show(one, crossed)
		}
		async.Pause(ctx, retryPull)
	}
}

// pace leaves out pictures so that fps of them a second remain.
type pace struct {
	fps  float64
	next time.Time
}

func (p *pace) rest(ctx context.Context, now time.Time) {
	if p.fps <= 0 {
		return
	}
	interval := time.Duration(float64(time.Second) / p.fps)
	if p.next = p.next.Add(interval); p.next.Before(now) {
		p.next = now.Add(interval) // the first one, or there were none: no burst to make up for it
	}
	async.Pause(ctx, p.next.Sub(now))
}

// stream shows all pictures, one part of a multipart answer each.
func (f *feeds) stream(w http.ResponseWriter, r *http.Request, camera string) {
	key, stale, err := feedOf(r, camera)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	first, err := f.cameras.Picture(r.Context(), camera, agentapi.Query{Width: key.width, Stale: stale})
	if err != nil {
		refuse(w, err)
		return
	}
	if first.Stale != "" {
		first = f.crossOut(first, first.Stale)
	}
	const kind = "multipart/x-mixed-replace; boundary=" + boundary
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", kind)
		return // nothing is written that would show when the visitor has left
	}
	v, leave, err := f.join(key)
	if err != nil {
		refuse(w, err)
		return
	}
	defer leave()
	w.Header().Set("Content-Type", kind)
	bound(r)
	_, err = io.WriteString(w, "--"+boundary+"\r\n")
	for p := first; err == nil; {
		if err = part(w, p); err != nil {
			return
		}
		select {
		case p = <-v:
		case <-r.Context().Done():
			return
		case <-f.ctx.Done():
			return
		}
	}
}

func (f *feeds) crossOut(p *agentapi.Picture, why string) *agentapi.Picture {
	f.crossing.Lock()
	defer f.crossing.Unlock()
	return crossOut(p, why)
}

func feedOf(r *http.Request, camera string) (key feedKey, stale bool, err error) {
	q, err := agentapi.ParseQuery(r.URL.Query())
	if err != nil {
		return key, false, err
	}
	key = feedKey{camera: camera, width: q.Width}
	if text := r.URL.Query().Get("fps"); text != "" {
		key.fps, err = strconv.ParseFloat(text, 64)
		if err != nil || !(key.fps >= minFPS && key.fps <= maxFPS) {
			return key, false, fmt.Errorf("fps=%.20q: expected %v to %v", text, minFPS, maxFPS)
		}
	}
	return key, q.Stale, nil
}

// boundary stands between the parts; a JPEG hardly has it.
const boundary = "framekeeper-frame"

// part writes one picture and the boundary after it: browsers show a picture only
// when they have seen that.
func part(w http.ResponseWriter, p *agentapi.Picture) error {
	if err := patient(w, viewerTime); err != nil {
		return err
	}
	h := http.Header{}
	p.SetHeader(h, p.Age)
	h.Set("Content-Length", strconv.Itoa(len(p.JPEG)))
	if err := h.Write(w); err != nil {
		return err
	}
	for _, b := range [][]byte{[]byte("\r\n"), p.JPEG, []byte("\r\n--" + boundary + "\r\n")} {
		if _, err := w.Write(b); err != nil { //nolint:gosec // an image, with its type
			return err
		}
	}
	return http.NewResponseController(w).Flush()
}

// connKey is of the connection in a request's context.
type connKey struct{}

// bound limits what the kernel holds of an answer whose visitor does not read.
func bound(r *http.Request) {
	conn := r.Context().Value(connKey{})
	if encrypted, ok := conn.(*tls.Conn); ok {
		conn = encrypted.NetConn()
	}
	if conn, ok := conn.(*net.TCPConn); ok {
		_ = conn.SetWriteBuffer(viewerBuffer) // else it is more
	}
}
