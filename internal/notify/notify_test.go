package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/events"
	"framekeeper/internal/status"
	"framekeeper/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const secret = "SECRETPW"

// got is a POST as it arrived.
type got struct {
	header  http.Header
	body    []byte
	Box     string
	Version string
	Dropped int
	Event   events.Event
}

// receiver is a real HTTP server that notes what arrives, and answers with code.
type receiver struct {
	*httptest.Server
	mu   sync.Mutex // guards all below
	all  []got
	code int
	hang bool
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{code: http.StatusNoContent}
	ended := make(chan struct{})
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		g := got{header: req.Header}
		g.body, _ = io.ReadAll(req.Body)
		if err := json.Unmarshal(g.body, &g); err != nil {
			t.Errorf("%v: %s", err, g.body)
		}
		if req.URL.Path == "/elsewhere" {
			t.Error("a redirect was followed")
		}
		r.mu.Lock()
		r.all = append(r.all, g)
		code, hang := r.code, r.hang
		r.mu.Unlock()
		if hang {
			select {
			case <-req.Context().Done():
			case <-ended:
			}
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(code)
	}))
	t.Cleanup(func() { close(ended); r.Close() })
	return r
}

func (r *receiver) answer(code int, hang bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.code, r.hang = code, hang
}

func (r *receiver) got() []got {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// texts are those of the events that arrived.
func (r *receiver) texts() (all []string) {
	for _, g := range r.got() {
		all = append(all, g.Event.Text)
	}
	return all
}

func (r *receiver) await(t *testing.T, n int) []got {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("%d POSTs", n), func() bool { return len(r.got()) >= n })
	return r.got()
}

func targetAt(t *testing.T, url string, kinds ...string) *Target {
	t.Helper()
	c := Config{URL: url, SecretFile: testkit.SecretFile(t, secret), Events: kinds}
	target, err := c.Target("box1")
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// sender sends soon and fails soon. End ends it, after so long at most; 0: 2 s.
func sender(t *testing.T, target *Target, ends time.Duration) (s *Sender, log *testkit.Log, end func()) {
	t.Helper()
	log = &testkit.Log{}
	logger := zerolog.New(log)
	s = New("v1", func() *zerolog.Logger { return &logger })
	s.hold, s.backoff, s.end = 200*time.Millisecond, 10*time.Millisecond, cmp.Or(ends, s.end)
	s.Use(target)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	end = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(end)
	t.Cleanup(func() {
		end()
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has a secret: %s", log)
		}
	})
	go func() { defer close(done); s.Run(ctx) }()
	return s, log, end
}

func event(text string) events.Event {
	return events.Event{ID: 1, TimeUS: 1, Kind: events.Camera, Health: status.Failed, Camera: "cam1", Text: text}
}

func repeated(text string, count int) events.Event {
	e := event(text)
	e.Count = count
	return e
}

func TestSignature(t *testing.T) {
	r := newReceiver(t)
	s, _, _ := sender(t, targetAt(t, strings.Replace(r.URL, "://", "://me:"+secret+"@", 1)+"/hook?token="+secret, "camera"), 0)
	s.Add(events.Event{Kind: events.Reload, Text: "not wanted"})
	s.Add(event("cam1 failed"))
	g := r.await(t, 1)[0]
	sent := g.header.Get("X-Framekeeper-Timestamp")
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s.%s", sent, g.body)
	if want := "sha256=" + hex.EncodeToString(mac.Sum(nil)); g.header.Get("X-Framekeeper-Signature") != want {
		t.Errorf("got the signature %q, want %q", g.header.Get("X-Framekeeper-Signature"), want)
	}
	if at, err := strconv.ParseInt(sent, 10, 64); err != nil || time.Since(time.Unix(at, 0)).Abs() > time.Minute {
		t.Errorf("sent at %q", sent)
	}
	if g.header.Get("Content-Type") != "application/json" || len(g.header.Get("X-Framekeeper-Delivery")) < 16 || g.header.Get("Authorization") == "" {
		t.Errorf("got the headers %v", g.header)
	}
	if g.Box != "box1" || g.Version != "v1" || g.Event != event("cam1 failed") {
		t.Errorf("got the body %s", g.body)
	}
}

// Whatever a receiver does instead of answering 2xx, the same delivery comes again, and
// those behind it after it; it is logged once, and when it is over.
func TestRetry(t *testing.T) {
	for name, fail := range map[string]func(r *receiver, s *Sender){
		"500":      func(r *receiver, _ *Sender) { r.answer(http.StatusInternalServerError, false) },
		"redirect": func(r *receiver, _ *Sender) { r.answer(http.StatusFound, false) },
		"hang":     func(r *receiver, s *Sender) { s.timeout = 3 * time.Second; r.answer(http.StatusNoContent, true) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t)
			s, log, _ := sender(t, nil, 0)
			fail(r, s)
			s.Use(targetAt(t, r.URL+"/hook?token="+secret))
			s.Add(event("first"))
			second := event("second")
			second.Camera = "cam2"
			s.Add(second)
			r.await(t, 3)
			r.answer(http.StatusNoContent, false)
			testkit.Eventually(t, "both", func() bool { sent, _ := s.Counts(); return sent == 2 })
			all := r.got()
			last := all[len(all)-1]
			for _, g := range all[1 : len(all)-1] {
				if g.Event.Text != "first" || !bytes.Equal(g.body, all[0].body) || g.header.Get("X-Framekeeper-Delivery") != all[0].header.Get("X-Framekeeper-Delivery") {
					t.Errorf("got %s, %v, want the first again", g.body, g.header)
				}
			}
			if last.Event.Text != "second" || last.header.Get("X-Framekeeper-Delivery") == all[0].header.Get("X-Framekeeper-Delivery") {
				t.Errorf("the last was %s, %v", last.body, last.header)
			}
			if got := strings.Join(log.Messages(), "\n"); got != "Events do not reach their receiver; each is tried again for an hour\nEvents reach their receiver again" {
				t.Errorf("logged: %s", got)
			}
		})
	}
}

// What a receiver says that is not HTTP may be our own address, and is not logged.
func TestAnswersThatAreNone(t *testing.T) {
	for _, answer := range []string{"token=" + secret + "\r\n\r\n", "HTTP/1.1 204 OK\r\n" + secret + "\r\n\r\n", "HTTP/1.1 " + secret + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + secret + "\r\n\r\n", "HTTP/1.1 500 " + secret + "\r\n\r\n", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20)} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = conn.Write([]byte(answer))
			_ = conn.Close()
		}))
		s, log, end := sender(t, targetAt(t, server.URL+"?token="+secret), 0)
		s.Add(event("cam1 failed"))
		testkit.Eventually(t, "a failure in the log", func() bool { return len(log.Messages()) > 0 && log.Messages()[0] != "" })
		end()
		server.Close()
		if n, _ := s.Counts(); n != 0 {
			t.Errorf("%.40q counts as an answer", answer)
		}
	}
}

// The oldest of too many events are dropped, which is logged once, and declared in the
// next POST and in no other.
func TestBound(t *testing.T) {
	r := newReceiver(t)
	r.answer(http.StatusServiceUnavailable, false)
	s, log, _ := sender(t, nil, 0)
	s.backoff = maxBackoff // Use begins anew
	s.Use(targetAt(t, r.URL))
	s.Add(event("0"))
	testkit.Eventually(t, "a failure", func() bool { return strings.Contains(log.String(), "do not reach") })
	for i := 1; i < maxWaiting+50; i++ {
		s.Add(event(strconv.Itoa(i)))
	}
	r.answer(http.StatusNoContent, false)
	s.Use(targetAt(t, r.URL))
	testkit.Eventually(t, "all that were not dropped", func() bool { sent, _ := s.Counts(); return sent == maxWaiting })
	all := r.got()[1:]
	if all[0].Event.Text != "50" || all[0].Dropped != 50 || all[1].Dropped != 0 || all[len(all)-1].Event.Text != strconv.Itoa(maxWaiting+49) {
		t.Errorf("got %s, %s … %s", all[0].body, all[1].body, all[len(all)-1].body)
	}
	if _, dropped := s.Counts(); dropped != 50 || strings.Count(log.String(), "Events are dropped") != 1 {
		t.Errorf("dropped %d, and logged %s", dropped, log)
	}
}

// A camera that flaps costs few POSTs, and the last is its newest state; what is the
// first of its kind is not held up.
func TestFlapping(t *testing.T) {
	r := newReceiver(t)
	s, _, _ := sender(t, targetAt(t, r.URL), 0)
	s.Add(event("failed"))
	r.await(t, 1)
	began, n := time.Now(), 2
	testkit.Eventually(t, "states of a camera that goes on flapping", func() bool {
		s.Add(repeated("flap "+strconv.Itoa(n), n))
		n++
		return len(r.got()) > 3
	})
	other := repeated("cam2 too", 2)
	other.Camera = "cam2"
	s.Add(other)
	s.Add(repeated("newest", n))
	testkit.Eventually(t, "newest state", func() bool {
		texts := r.texts()
		return slices.Contains(texts, "newest") && slices.Contains(texts, "cam2 too")
	})
	if texts := r.texts(); len(texts) > 5+int(time.Since(began)/s.hold) {
		t.Errorf("%d changes cost %d POSTs: %s", n, len(texts), texts)
	}
	// What is new of the subject makes what is held of it old.
	before := len(r.got())
	s.hold = time.Hour
	s.Add(repeated("held", n+1))
	first := dueOf(s, "held")
	s.Add(repeated("held again", n+2))
	if again := dueOf(s, "held again"); first.IsZero() || !again.Equal(first) {
		t.Errorf("it was to be sent at %v, and then at %v: it might flap for ever", first, again)
	}
	s.Add(event("degraded"))
	if all := r.await(t, before+1); all[before].Event.Text != "degraded" {
		t.Errorf("got %s", all[before].body)
	}
	if !dueOf(s, "held again").IsZero() {
		t.Error("the state of before is still to be sent")
	}
}

// dueOf is when an event that waits is to be sent; zero: none does.
func dueOf(s *Sender, text string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.waiting {
		if d.event.Text == text {
			return d.due
		}
	}
	return time.Time{}
}

// Another address gets what waits, and nothing is sent without one.
func TestUse(t *testing.T) {
	gone, r := newReceiver(t), newReceiver(t)
	gone.answer(http.StatusNotFound, false)
	s, _, end := sender(t, targetAt(t, gone.URL), testkit.Patience)
	s.Add(event("first"))
	gone.await(t, 1)
	s.Use(targetAt(t, r.URL))
	r.await(t, 1)
	s.hold = time.Hour
	held := repeated("held", 2)
	held.Camera = "cam2" // else the second takes its place
	s.Add(held)
	s.Use(nil)
	s.Add(event("nobody's"))
	s.Use(targetAt(t, r.URL))
	s.Add(event("second"))
	end()
	if texts := fmt.Sprint(r.texts()); texts != "[first second]" {
		t.Errorf("got %s", texts)
	}
}

// At the end what waits is sent, held or not; a receiver that hangs costs 2 s.
func TestEnd(t *testing.T) {
	r := newReceiver(t)
	s, log, end := sender(t, targetAt(t, r.URL), testkit.Patience)
	s.hold = time.Hour
	s.Add(repeated("held", 2))
	s.Add(events.Event{Kind: events.Stop, Text: "stopped"})
	end()
	if got := fmt.Sprint(slices.Sorted(slices.Values(r.texts()))); got != "[held stopped]" || log.String() != "" {
		t.Errorf("got %s, and logged %s", got, log)
	}
	r.answer(http.StatusNoContent, true)
	s, log, end = sender(t, targetAt(t, r.URL), 0)
	s.Add(event("lost"))
	r.await(t, 3)
	began := time.Now()
	end()
	if took := time.Since(began); took > 8*time.Second || !strings.Contains(log.String(), `"events":1`) {
		t.Errorf("it took %v, and logged %s", took, log)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{}, ""},
		{Config{URL: "https://me:pw@host:8443/a?b=c", SecretFile: "f", Events: []string{"camera", "stop"}}, ""},
		{Config{URL: "http://host"}, "secret_file= url and secret_file together, or neither"},
		{Config{SecretFile: "f"}, "secret_file=f url and secret_file together, or neither"},
		{Config{URL: "ftp://" + secret + "/", SecretFile: "f"}, "url=… an address such as https://example.com/hook"},
		{Config{URL: "https://?" + secret, SecretFile: "f"}, "url=… an address such as https://example.com/hook"},
		{Config{URL: "http://h:70000/" + secret, SecretFile: "f"}, "url=… an address such as https://example.com/hook"},
		{Config{URL: "http://h\x7f/" + secret, SecretFile: "f"}, "url=… an address such as https://example.com/hook"},
		{Config{Events: []string{"camera", "cam"}}, "events=cam kinds of start stop camera stall restart loss outage redis reload name directory orphaned hang"},
	} {
		var got []string
		c.config.Validate(func(key, value, expected string) { got = append(got, key+"="+value+" "+expected) })
		if strings.Join(got, "\n") != c.want {
			t.Errorf("%+v: got %q, want %q", c.config, got, c.want)
		}
	}
}

func TestUnreadableSecret(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, "/nowhere/secret", "/dev/null"} {
		c := Config{URL: "http://h/" + secret, SecretFile: file}
		if _, err := c.Target("box1"); err == nil || !strings.Contains(err.Error(), "[notify] secret_file") || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: got %v", file, err)
		}
	}
}

// The header is the answer: a body without an end costs nothing.
func TestEndlessAnswer(t *testing.T) {
	closed := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer close(closed)
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	s, _, _ := sender(t, targetAt(t, server.URL), 0)
	s.Add(event("cam1 failed"))
	testkit.Eventually(t, "an answer", func() bool { sent, _ := s.Counts(); return sent == 1 })
	<-closed
}
