package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"image"
	"image/jpeg"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"framekeeper/internal/agentapi"
	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
)

// nowhere is an address at which no Redis ever is.
func nowhere(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "redis://" + l.Addr().String()
}

// startServed runs an agent and returns who asks it over its socket.
func startServed(t *testing.T, url, more, cam string) agentapi.Client {
	t.Helper()
	config := writeConfig(t, url, more, cam)
	startAgent(t, config)
	c := agentapi.Client{Path: agentapi.Path(filepath.Join(filepath.Dir(config), "state"), "greencam1")}
	testkit.Eventually(t, "a picture", func() bool {
		_, err := c.Picture(t.Context(), agentapi.Query{})
		return err == nil
	})
	return c
}

// A Redis that was never reached keeps no picture and no answer away.
func TestPicturesWithoutRedis(t *testing.T) {
	t.Parallel()
	c := startServed(t, nowhere(t), "", "source = \"test:\"\nwidth = 640\nheight = 360\n")
	p, err := c.Picture(t.Context(), agentapi.Query{Width: 320})
	if err != nil {
		t.Fatal(err)
	}
	m, err := jpeg.Decode(bytes.NewReader(p.JPEG))
	if err != nil || m.Bounds() != image.Rect(0, 0, 320, 180) || p.Width != 320 || p.Height != 180 || p.Exposure != "640x360" {
		t.Errorf("got %v, said to be %dx%d (%v), want 320x180", m.Bounds(), p.Width, p.Height, err)
	}
	if now := time.Now().UnixMicro(); p.Captured > now || now-p.Captured > 5e6 || p.Age > 2*time.Second || p.Stale != "" {
		t.Errorf("got a picture of %d, %s old, stale %q; now is %d", p.Captured, p.Age, p.Stale, now)
	}
	if !strings.Contains(p.FrameID, "-e") {
		t.Errorf("an exposure that no log has is called %q", p.FrameID)
	}
	next, err := c.Picture(t.Context(), agentapi.Query{After: p.Tag, Wait: 5 * time.Second})
	if err != nil || next.Tag == p.Tag || next.Captured <= p.Captured {
		t.Errorf("after %s of %d came %+v (%v)", p.Tag, p.Captured, next, err)
	}
	again, err := c.Picture(t.Context(), agentapi.Query{After: "1-1"})
	if err != nil || again == nil {
		t.Errorf("a tag of another start hides the picture: %v", err)
	}

	a, err := c.Request(t.Context(), []byte(`{"lot": "Größe 😀", "angle": 25}`), "")
	if err != nil {
		t.Fatal(err)
	}
	var h frame.Header
	if err := json.Unmarshal(a.Header, &h); err != nil || h.Status != frame.StatusOK || !strings.Contains(string(h.Request), `"angle":25`) {
		t.Errorf("got the header %s (%v)", a.Header, err)
	}
	var echo struct{ Lot string }
	if err := json.Unmarshal(h.Request, &echo); err != nil || echo.Lot != "Größe 😀" {
		t.Errorf("got the lot %q (%v)", echo.Lot, err)
	}
	if strings.ContainsFunc(string(a.Header), func(r rune) bool { return r > 126 || r < 32 }) {
		t.Errorf("the header is not of ASCII: %q", a.Header)
	}
	if a.ContentType != "image/jpeg" || frame.Checksum(a.Image) != h.CRC32C || h.CapturedUS < h.RequestedUS-1e6 {
		t.Errorf("got %d bytes of %s with %+v", len(a.Image), a.ContentType, h)
	}
	if only, err := c.Request(t.Context(), []byte(`{}`), "application/json"); err != nil || !json.Valid(only.Image) || only.ContentType != "application/json" {
		t.Errorf("the header alone: got %+v (%v)", only, err)
	}
}

func TestRequestsOverTheSocketAreRefused(t *testing.T) {
	t.Parallel()
	c := startServed(t, nowhere(t), "", tiny+"request_rate = 2\n")
	for request, code := range map[string]int{
		`not JSON`: http.StatusBadRequest, `[1]`: http.StatusBadRequest, `{"id": ""}`: http.StatusBadRequest, `{"timeout_ms": -1}`: http.StatusBadRequest,
		`{"x": "` + strings.Repeat("x", frame.MaxRequestBytes) + `"}`: http.StatusRequestEntityTooLarge,
	} {
		_, err := c.Request(t.Context(), []byte(request), "")
		var refused *agentapi.Refused
		if !errors.As(err, &refused) || refused.Code != code {
			t.Errorf("%.30s: got %v, want a refusal with %d", request, err, code)
		}
	}
	limited := false
	for range 50 {
		_, err := c.Request(t.Context(), []byte(`{}`), "application/json")
		var refused *agentapi.Refused
		limited = limited || errors.As(err, &refused) && refused.Code == http.StatusTooManyRequests
	}
	if !limited {
		t.Error("50 requests were not limited to 2 a second")
	}
}

// With Redis there a request over the socket is like any other: its answer is
// published, its frame enters the stream, and its id is answered once.
func TestRequestsOverTheSocketAreLogged(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	c := startServed(t, server.URL(), "", tiny)
	host := newAsker(t, server.URL())
	host.ask(t, nil)
	a, err := c.Request(t.Context(), []byte(`{"id": "mine", "angle": 7}`), "")
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Request(t.Context(), []byte(`{"id": "mine", "angle": 7}`), "")
	if err != nil || !bytes.Equal(again.Header, a.Header) || !bytes.Equal(again.Image, a.Image) {
		t.Errorf("the same id: got %s (%v), want %s", again.Header, err, a.Header)
	}
	var h frame.Header
	if err := json.Unmarshal(a.Header, &h); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the frame in the stream, once", func() bool {
		n := 0
		for _, m := range entries(t, server.Client()) {
			if m.Header.ID == h.ID {
				n++
			}
		}
		return n == 1
	})
	testkit.Eventually(t, "the answer on the channel", func() bool {
		for _, m := range host.messages() {
			if m.Header.ID == h.ID {
				return true
			}
		}
		return false
	})
	testkit.Eventually(t, "a picture with its frame's ID", func() bool {
		if _, err := c.Request(t.Context(), []byte(`{"max_age_ms": 1000}`), "application/json"); err != nil {
			t.Fatal(err)
		}
		p, err := c.Picture(t.Context(), agentapi.Query{})
		return err == nil && !strings.Contains(p.FrameID, "e")
	})
}

// Answers that somebody at the socket has do not wait for Redis: hours without it
// would fill the queue, and then no request would be served.
func TestAnswersOverTheSocketDoNotQueue(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"stream", "pubsub"} {
		c := startServed(t, nowhere(t), "[delivery]\nmode = \""+mode+"\"\nretain_bytes = \"8MiB\"\n", "source = \"test:\"\nwidth = 640\nheight = 480\nencoding = \"raw\"\n")
		for i := range 30 { // 27 MB
			a, err := c.Request(t.Context(), []byte(`{"timeout_ms": 5000}`), "application/octet-stream")
			if err != nil || len(a.Image) != 640*480*3 {
				t.Fatalf("%s: request %d: %v", mode, i, err)
			}
		}
		if a, err := c.Request(t.Context(), []byte(`{}`), "image/*"); err != nil || a.ContentType != "image/jpeg" {
			t.Errorf("%s: raw pixels to look at: %v", mode, err)
		}
	}
}

// still is a camera whose exposures a test makes.
type still struct {
	mu     sync.Mutex // guards all
	frame  *camera.Frame
	ticket uint64
	health camera.Health
}

func (s *still) Await(context.Context, uint64) (*camera.Frame, uint64) { return nil, 0 }

func (s *still) Newer(after uint64) (*camera.Frame, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frame == nil || s.ticket <= after {
		return nil, after
	}
	return s.frame.Retain(), s.ticket
}

func (s *still) Health() camera.Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.health
}

func (s *still) expose(age time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.frame = &camera.Frame{Format: camera.BGR24, Width: 64, Height: 48, Data: make([]byte, 64*48*3), Captured: now.Add(-age)}
	s.frame.Retain()
	s.ticket++
	s.health = camera.Health{State: camera.StateOK, LastFrame: now.Add(-age), Info: camera.Info{FPS: 30}}
}

func newPictures(source pictureSource, encoded *atomic.Int64) *pictures {
	encode := func(dst []byte, f *camera.Frame, quality int) ([]byte, error) {
		encoded.Add(1)
		img, err := camera.NewEncoder(camera.Config{Encoding: frame.JPEG, Quality: quality}, nil).Encode(context.Background(), dst, f)
		return img.Data, err
	}
	return &pictures{
		cam: camera.Config{StallTimeout: 2 * time.Second}, epoch: 7, source: source, clock: frame.NewClock(),
		quality: func() int { return 80 }, preview: camera.NewPreview(camera.Default(), encode, nil),
	}
}

// An exposure is made into a JPEG once for each size, whoever asks and how many.
func TestOneEncodeWhoeverAsks(t *testing.T) {
	t.Parallel()
	var encoded atomic.Int64
	s := &still{}
	p := newPictures(s, &encoded)
	for n := range int64(3) {
		s.expose(0)
		var asking sync.WaitGroup
		for i := range 100 {
			asking.Go(func() {
				if _, err := p.Picture(t.Context(), agentapi.Query{Width: []int{0, 32}[i%2]}); err != nil {
					t.Error(err)
				}
			})
		}
		asking.Wait()
		if got := encoded.Load(); got != 2*(n+1) {
			t.Errorf("%d exposures at two sizes were encoded %d times", n+1, got)
		}
	}
}

func TestWhatMustNotPassForLive(t *testing.T) {
	t.Parallel()
	var encoded atomic.Int64
	s := &still{health: camera.Health{State: camera.StateOpening, Reason: "the camera is being opened"}}
	p := newPictures(s, &encoded)
	expect := func(name, reason string) {
		t.Helper()
		_, err := p.Picture(t.Context(), agentapi.Query{})
		var un *agentapi.Unavailable
		if reason == "" && err != nil || reason != "" && (!errors.As(err, &un) || !strings.Contains(un.Reason, reason)) {
			t.Errorf("%s: got %v, want %q", name, err, reason)
		}
		if old, err := p.Picture(t.Context(), agentapi.Query{Stale: true}); s.frame != nil && (err != nil || (old.Stale == "") != (reason == "")) {
			t.Errorf("%s: with stale=1: got %+v, %v", name, old, err)
		}
	}
	expect("before the first", "no exposure yet: the camera is being opened")
	s.expose(time.Second)
	expect("a second old", "")
	s.expose(3 * time.Second)
	expect("three seconds old", "3s old")
	s.expose(3 * time.Second)
	s.health.Info.FPS = 0.1
	expect("of a slow camera", "")
	s.expose(0)
	s.health.State, s.health.Reason, s.health.LastFrame = camera.StateRetrying, "the same image for 10s", time.Now().Add(-10*time.Second)
	expect("of a frozen camera", "camera retrying: the same image for 10s")
	s.expose(0)
	s.health.State = camera.StateRetrying
	expect("of one being opened again", "")
	s.health.State = camera.StateEnded
	expect("of one that has ended", "camera ended")
}
