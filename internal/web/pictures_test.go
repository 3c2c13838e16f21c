package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"framekeeper/internal/agentapi"
	"framekeeper/internal/testkit"
)

// studio is a box's cameras under a test's hands.
type studio struct {
	names []string

	mu      sync.Mutex // guards all below
	taken   int        // exposures
	next    chan struct{}
	dark    error          // why there are none
	asked   map[string]int // by camera
	calls   atomic.Int64
	answers func(request []byte, accept string) (*agentapi.Answer, error)
}

func newStudio(names ...string) *studio {
	return &studio{names: names, next: make(chan struct{}), asked: map[string]int{}}
}

// expose makes a new exposure on every camera; err: none, for that reason.
func (s *studio) expose(err error) {
	s.hold(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.taken++
	}
	close(s.next)
	s.next = make(chan struct{})
}

// tick makes one more exposure, whether it is shown or not.
func (s *studio) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken++
	close(s.next)
	s.next = make(chan struct{})
}

// hold says why there are no pictures; nil: there are.
func (s *studio) hold(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dark = why
}

// run makes exposures until the test ends.
func (s *studio) run(t *testing.T, fps int) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second / time.Duration(fps))
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.tick()
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func (s *studio) Names() []string { return s.names }

func (s *studio) Picture(ctx context.Context, camera string, q agentapi.Query) (*agentapi.Picture, error) {
	s.calls.Add(1)
	s.mu.Lock()
	s.asked[camera]++
	s.mu.Unlock()
	limit := time.NewTimer(q.Wait)
	defer limit.Stop()
	for {
		s.mu.Lock()
		n, dark, next := s.taken, s.dark, s.next
		s.mu.Unlock()
		tag := fmt.Sprintf("%s-%d", camera, n)
		switch {
		case dark != nil:
			return nil, dark
		case n > 0 && q.After != tag:
			return &agentapi.Picture{
				JPEG: coloured(n, 640, 360), Width: 640, Height: 360, Exposure: "1280x720", Tag: tag, FrameID: "1-e" + strconv.Itoa(n), Captured: time.Now().UnixMicro(), Age: 20 * time.Millisecond,
			}, nil
		case q.Wait == 0 && n == 0:
			return nil, &agentapi.Unavailable{Reason: "no exposure yet"}
		case q.Wait == 0:
			return nil, agentapi.ErrNoNewer
		}
		select {
		case <-next:
		case <-limit.C:
			return nil, agentapi.ErrNoNewer
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *studio) Request(_ context.Context, _ string, request []byte, accept string) (*agentapi.Answer, error) {
	return s.answers(request, accept)
}

// coloured is a JPEG of one colour, which its number chooses.
func coloured(n, w, h int) []byte {
	key := [3]int{n % 16, w, h}
	if made, ok := colours.Load(key); ok {
		return made.([]byte)
	}
	n %= 16
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	c := color.RGBA{uint8(80 + n*37%150), uint8(60 + n*91%160), uint8(90 + n*53%140), 255}
	for i := 0; i < len(m.Pix); i += 4 {
		m.Pix[i], m.Pix[i+1], m.Pix[i+2], m.Pix[i+3] = c.R, c.G, c.B, c.A
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		panic(err)
	}
	colours.Store(key, b.Bytes())
	return b.Bytes()
}

var colours sync.Map // what coloured has made

func TestLatest(t *testing.T) {
	t.Parallel()
	s := newStudio("cam1", "cam2")
	url := serve(t, Config{Report: good, Cameras: s})
	if resp, body := get(t, "GET", url+"/cameras/cam1/latest.jpg", "", ""); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("before the first: got %d %s", resp.StatusCode, body)
	}
	s.expose(nil)
	resp, body := get(t, "GET", url+"/cameras/cam1/latest.jpg?w=320", "", "")
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "image/jpeg" || body != string(coloured(1, 640, 360)) {
		t.Errorf("got %d, %v, %d bytes", resp.StatusCode, resp.Header, len(body))
	}
	seconds, err := strconv.ParseFloat(resp.Header.Get("X-Timestamp"), 64)
	if now := float64(time.Now().UnixMicro()) / 1e6; err != nil || seconds > now || seconds < now-60 {
		t.Errorf("X-Timestamp is %q (%v)", resp.Header.Get("X-Timestamp"), err)
	}
	for name, want := range map[string]string{"X-Frame-Id": "1-e1", "Age": "0", "X-Age-Ms": "20", "X-Image-Size": "640x360", "X-Exposure-Size": "1280x720", "Etag": `"cam1-1"`,
		"Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin", "X-Stale": ""} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/cameras/cam1/latest.jpg", nil)
	req.Header.Set("If-None-Match", `"cam1-1"`)
	again, err := http.DefaultClient.Do(req)
	if err != nil || again.StatusCode != http.StatusNotModified {
		t.Errorf("the same again: got %v, %v", again, err)
	}
	_ = again.Body.Close()
	for path, want := range map[string]string{
		"/cameras/cam9/latest.jpg": "there is cam1, cam2", "/snapshot.jpg": "/cameras/NAME/latest.jpg, NAME being one of cam1, cam2", "/stream.mjpeg": "several cameras",
	} {
		if resp, body := get(t, "GET", url+path, "", ""); resp.StatusCode != http.StatusNotFound || !strings.Contains(body, want) {
			t.Errorf("%s: got %d %s", path, resp.StatusCode, body)
		}
	}
	for _, path := range []string{"/cameras/cam1/latest.jpg?w=-1", "/cameras/cam1/stream.mjpeg?w=x", "/cameras/cam1/stream.mjpeg?fps=0", "/cameras/cam1/stream.mjpeg?fps=NaN", "/cameras/cam1/stream.mjpeg?fps=1e-300"} {
		if resp, body := get(t, "GET", url+path, "", ""); resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, "expected") {
			t.Errorf("%s: got %d %s", path, resp.StatusCode, body)
		}
	}
	s.expose(&agentapi.Unavailable{Reason: "camera stalled: no light"})
	if resp, body := get(t, "GET", url+"/cameras/cam1/latest.jpg", "", ""); resp.StatusCode != http.StatusServiceUnavailable || body != "camera stalled: no light\n" || resp.Header.Get("Retry-After") == "" {
		t.Errorf("stalled: got %d %s", resp.StatusCode, body)
	}
	old, body := get(t, "GET", url+"/cameras/cam1/latest.jpg?stale=1", "", "")
	if old.StatusCode != http.StatusOK || !strings.Contains(old.Header.Get("X-Stale"), "no light") || body == "" {
		t.Errorf("the remembered one: got %d, %v", old.StatusCode, old.Header)
	}
}

func TestOneCameraHasShortAddresses(t *testing.T) {
	t.Parallel()
	s := newStudio("cam1")
	s.expose(nil)
	url := serve(t, Config{Report: good, Cameras: s, Settings: Settings{HTTPEmbed: true}})
	resp, body := get(t, "GET", url+"/snapshot.jpg", "", "")
	if resp.StatusCode != http.StatusOK || body != string(coloured(1, 640, 360)) || resp.Header.Get("Cross-Origin-Resource-Policy") != "cross-origin" {
		t.Errorf("got %d, %d bytes, %v", resp.StatusCode, len(body), resp.Header)
	}
}

// watcher reads a stream.
type watcher struct {
	parts *multipart.Reader
	close func()
}

func watch(t *testing.T, url string) *watcher {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	kind, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/x-mixed-replace" || resp.StatusCode != http.StatusOK {
		t.Fatalf("got %d, %v (%v)", resp.StatusCode, resp.Header, err)
	}
	return &watcher{multipart.NewReader(resp.Body, params["boundary"]), cancel}
}

// next is the next picture's number by its X-Frame-Id, and whether it is stale.
func (w *watcher) next() (n int, stale string, err error) {
	part, err := w.parts.NextPart()
	if err != nil {
		return 0, "", err
	}
	data, err := io.ReadAll(part)
	if err != nil {
		return 0, "", err
	}
	if _, err := jpeg.DecodeConfig(bytes.NewReader(data)); err != nil {
		return 0, "", err
	}
	n, err = strconv.Atoi(strings.TrimPrefix(part.Header.Get("X-Frame-Id"), "1-e"))
	return n, part.Header.Get("X-Stale"), err
}

// A stream goes on for longer than any other answer may take, and shows when there
// is nothing to see: crossed out, and only until there is.
func TestStream(t *testing.T) {
	t.Parallel()
	s := newStudio("cam1")
	s.expose(nil)
	w := watch(t, serve(t, Config{Report: good, Cameras: s})+"/stream.mjpeg")
	if n, stale, err := w.next(); n != 1 || stale != "" || err != nil {
		t.Fatalf("got %d, %q, %v", n, stale, err)
	}
	began := time.Now()
	for n := 2; time.Since(began) < 12*time.Second; n++ { // the server's limits are 10 s
		s.expose(nil)
		got, stale, err := w.next()
		for got < n && err == nil {
			got, stale, err = w.next() // the first may come twice
		}
		if got != n || stale != "" || err != nil {
			t.Fatalf("after %v: got %d, %q, %v, want %d", time.Since(began), got, stale, err, n)
		}
		time.Sleep(500 * time.Millisecond)
	}
	s.expose(&agentapi.Unavailable{Reason: "camera stalled"})
	if _, stale, err := w.next(); stale != `"camera stalled"` || err != nil {
		t.Errorf("of a stalled camera: got %q, %v", stale, err)
	}
	s.expose(nil)
	if _, stale, err := w.next(); stale != "" || err != nil {
		t.Errorf("of one that is back: got %q, %v", stale, err)
	}
}

// Who asks for the head alone gets it, and looks at nothing.
func TestHeadOfAStream(t *testing.T) {
	t.Parallel()
	s := newStudio("cam1")
	s.expose(nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(serve(t, Config{Report: good, Cameras: s}), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(8 * time.Second))
	answers := bufio.NewReader(conn)
	for range 2 { // the second on the same connection: the first has ended
		if _, err := io.WriteString(conn, "HEAD /stream.mjpeg HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(answers, &http.Request{Method: http.MethodHead})
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "multipart/x-mixed-replace") {
			t.Errorf("got %d, %v", resp.StatusCode, resp.Header)
		}
	}
}

func TestStreamRate(t *testing.T) {
	t.Parallel()
	s := newStudio("cam1")
	s.run(t, 100)
	testkit.Eventually(t, "an exposure", func() bool { _, err := s.Picture(t.Context(), "cam1", agentapi.Query{}); return err == nil })
	w := watch(t, serve(t, Config{Report: good, Cameras: s})+"/cameras/cam1/stream.mjpeg?fps=5")
	began := time.Now()
	for range 11 {
		if _, _, err := w.next(); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took < 1500*time.Millisecond {
		t.Errorf("11 pictures at 5 a second came within %v", took)
	}
}

// Sizes and rates of one camera are bounded, those who watch the same are not, and
// whoever leaves makes room.
func TestFeedsAreBounded(t *testing.T) {
	s := newStudio("cam1", "cam2")
	s.run(t, 20)
	testkit.Eventually(t, "an exposure", func() bool { return s.exposures() > 0 })
	url := serve(t, Config{Report: good, Cameras: s}) + "/cameras/cam1/stream.mjpeg"
	shown := func(w *watcher) {
		t.Helper()
		if _, _, err := w.next(); err != nil {
			t.Fatal(err)
		}
	}
	var first *watcher
	for i := range maxFeeds {
		w := watch(t, fmt.Sprintf("%s?w=%d", url, 100+i))
		shown(w)
		if i == 0 {
			first = w
		}
	}
	resp, text := get(t, http.MethodGet, url+"?fps=3", "", "")
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, "8 streams of cam1") || resp.Header.Get("Retry-After") == "" || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("one more: got %d %s %v", resp.StatusCode, text, resp.Header)
	}
	for _, another := range []string{url, url + "?w=101", strings.Replace(url, "cam1", "cam2", 1) + "?fps=3"} {
		shown(watch(t, another))
	}
	first.close()
	testkit.Eventually(t, "room for another one", func() bool {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"?fps=3", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// Fifty viewers cost the agent what one costs; one that does not read costs the
// others nothing; and when all have left nothing is asked any more.
func TestFiftyViewers(t *testing.T) {
	t.Parallel()
	s := newStudio("cam1")
	s.run(t, 30)
	testkit.Eventually(t, "an exposure", func() bool { _, err := s.Picture(t.Context(), "cam1", agentapi.Query{}); return err == nil })
	url := serve(t, Config{Report: good, Cameras: s})
	deaf, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	if _, err := io.WriteString(deaf, "GET /stream.mjpeg HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	viewers := make([]*watcher, 50)
	for i := range viewers {
		viewers[i] = watch(t, url+"/stream.mjpeg")
	}
	before, from := s.calls.Load(), s.exposures()
	var watching sync.WaitGroup
	for _, w := range viewers {
		watching.Go(func() {
			for range 30 {
				if _, stale, err := w.next(); err != nil || stale != "" {
					t.Errorf("a viewer got %q, %v", stale, err)
					return
				}
			}
		})
	}
	watching.Wait()
	calls, made := s.calls.Load()-before, s.exposures()-from
	if calls > int64(made)+2 {
		t.Errorf("%d exposures were asked for %d times", made, calls)
	}
	t.Logf("%d exposures for 50 viewers in %d calls", made, calls)
	for _, w := range viewers {
		w.close()
	}
	_ = deaf.Close()
	testkit.Eventually(t, "nobody asks any more", func() bool {
		before := s.calls.Load()
		time.Sleep(300 * time.Millisecond)
		return s.calls.Load() == before
	})
}

func (s *studio) exposures() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

func TestRequestOverHTTP(t *testing.T) {
	t.Parallel()
	s := newStudio("cam1")
	s.answers = func(request []byte, accept string) (*agentapi.Answer, error) {
		header := []byte(`{"status":"ok"}`)
		switch {
		case len(request) == 0:
			return nil, &agentapi.Refused{Code: http.StatusBadRequest, Reason: "not JSON"}
		case string(request) == "{}":
			return &agentapi.Answer{Header: []byte(`{"status":"error"}`)}, &agentapi.Unavailable{Reason: "camera stalled"}
		case accept == "application/json":
			return &agentapi.Answer{Header: header, ContentType: accept, Image: header}, nil
		}
		return &agentapi.Answer{Header: header, ContentType: "image/png", Image: request}, nil
	}
	url := serve(t, Config{Report: good, Cameras: s}) + "/cameras/cam1/request"
	post := func(body string, header ...string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(b)
	}
	if resp, body := post(`{"lot": 1}`); resp.StatusCode != http.StatusOK || body != `{"lot": 1}` || resp.Header.Get("Content-Type") != "image/png" || resp.Header.Get("X-Framekeeper-Header") != `{"status":"ok"}` {
		t.Errorf("got %d %s %v", resp.StatusCode, body, resp.Header)
	}
	if resp, body := post(`{"lot": 1}`, "Accept", "application/json"); resp.StatusCode != http.StatusOK || body != `{"status":"ok"}` {
		t.Errorf("the header alone: got %d %s", resp.StatusCode, body)
	}
	for body, code := range map[string]int{"": http.StatusBadRequest, "{}": http.StatusServiceUnavailable} {
		var f struct{ Error string }
		if resp, text := post(body); resp.StatusCode != code || json.Unmarshal([]byte(text), &f) != nil || f.Error == "" {
			t.Errorf("%q: got %d %s", body, resp.StatusCode, text)
		}
	}
	for _, foreign := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "http://evil.example"}, {"Origin", "null"}} {
		if resp, body := post(`{"lot": 1}`, foreign...); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%q: got %d %s", foreign, resp.StatusCode, body)
		}
	}
	if resp, _ := post(`{"lot": 1}`, "Origin", strings.TrimSuffix(url, "/cameras/cam1/request")); resp.StatusCode != http.StatusOK {
		t.Errorf("the page itself is refused: %d", resp.StatusCode)
	}
}

// hurried is an answer that notes how long its visitor may take for it.
type hurried struct {
	*httptest.ResponseRecorder
	until time.Time
}

func (h *hurried) SetReadDeadline(time.Time) error { return nil }

func (h *hurried) SetWriteDeadline(t time.Time) error { h.until = t; return nil }

// Who has waited for an image for long may not read it for as long.
func TestAnswerIsToBeRead(t *testing.T) {
	t.Parallel()
	s := newStudio("cam1")
	s.answers = func([]byte, string) (*agentapi.Answer, error) {
		return &agentapi.Answer{ContentType: "image/png", Image: []byte("image")}, nil
	}
	w := &hurried{ResponseRecorder: httptest.NewRecorder()}
	newPictures(t.Context(), s).request(w, httptest.NewRequest(http.MethodPost, "/cameras/cam1/request", strings.NewReader("{}")), "cam1")
	if left := time.Until(w.until); w.Body.String() != "image" || left > time.Minute {
		t.Errorf("got %q, to be read within %v", w.Body, left)
	}
}

// The server ends though somebody looks, and soon.
func TestStreamsEndWithTheServer(t *testing.T) {
	t.Parallel()
	s := newStudio("cam1")
	s.run(t, 30)
	testkit.Eventually(t, "an exposure", func() bool { return s.exposures() > 0 })
	url, end := serveAt(t, "127.0.0.1:0", Config{Report: good, Cameras: s})
	w := watch(t, url+"/stream.mjpeg")
	if _, _, err := w.next(); err != nil {
		t.Fatal(err)
	}
	end()
	for {
		if _, _, err := w.next(); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return
		} else if err != nil {
			t.Fatalf("the stream ended with %v", err)
		}
	}
}

func TestCrossedOut(t *testing.T) {
	t.Parallel()
	p := &agentapi.Picture{JPEG: coloured(1, 200, 100), Tag: "1-1"}
	crossed := crossOut(p, "no light")
	m, err := jpeg.Decode(bytes.NewReader(crossed.JPEG))
	if err != nil || crossed.Stale != "no light" || m.Bounds() != image.Rect(0, 0, 200, 100) {
		t.Fatalf("got %v, %+v", err, crossed)
	}
	if r, g, b, _ := m.At(20, 60).RGBA(); r != g || g != b {
		t.Errorf("a pixel is of the colour %d %d %d", r, g, b)
	}
	if r, _, _, _ := m.At(100, 50).RGBA(); r < 0xc000 {
		t.Errorf("the middle is %#x, want it white", r)
	}
}

// Whatever a camera has sent last, viewers do not go on looking at it.
func TestCrossedOutBlank(t *testing.T) {
	t.Parallel()
	whole := coloured(1, 200, 100)
	torn := append(bytes.Clone(whole[:len(whole)-100]), 0xff, 0xd9)
	huge := bytes.Clone(whole)
	size := bytes.Index(huge, []byte{0xff, 0xc0}) + 5 // in the frame header
	copy(huge[size:], []byte{0x3e, 0x80, 0x3e, 0x80})
	for what, data := range map[string][]byte{"nothing": nil, "no JPEG": []byte("no JPEG"), "torn": torn, "of 16000x16000 pixels": huge} {
		crossed := crossOut(&agentapi.Picture{JPEG: data}, "no light")
		if crossed == nil {
			t.Errorf("%s: viewers get nothing", what)
			continue
		}
		head, err := jpeg.DecodeConfig(bytes.NewReader(crossed.JPEG))
		if err != nil || head.Width != crossed.Width || head.Height != crossed.Height || crossed.Stale != "no light" {
			t.Errorf("%s: got %+v, %+v, %v", what, head, crossed, err)
		}
	}
}

// Without its script the page shows live pictures or none.
func TestPageAsksForLivePictures(t *testing.T) {
	t.Parallel()
	s := newStudio("cam1")
	s.expose(nil)
	url := serve(t, Config{Report: good, Cameras: s})
	_, page := get(t, "GET", url+"/", "", "")
	_, rest, there := strings.Cut(page, `<img loading="lazy" src="`)
	path, _, _ := strings.Cut(rest, `"`)
	path = html.UnescapeString(path)
	if resp, _ := get(t, "GET", url+path, "", ""); !there || resp.StatusCode != http.StatusOK {
		t.Fatalf("%q: got %d", path, resp.StatusCode)
	}
	s.expose(&agentapi.Unavailable{Reason: "camera stalled"})
	if resp, _ := get(t, "GET", url+path, "", ""); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%s: got %d of a stalled camera", path, resp.StatusCode)
	}
}
