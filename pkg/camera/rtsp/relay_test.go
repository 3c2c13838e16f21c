package rtsp

import (
	"bufio"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	user, password = "admin", "TOPSECRET"
	patience       = 20 * time.Second
)

// fake is a camera that answers as a test wants it to.
type fake struct {
	addr      string
	countless atomic.Bool // answers are sent as they are, without the request's number

	mu   sync.Mutex // guards asked
	seen []string   // requests, whole
}

// serve starts a camera. answer is called for each request; "" ends the connection.
func serve(t *testing.T, answer func(request string) string) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{addr: l.Addr().String()}
	var done sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); done.Wait() })
	done.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			done.Go(func() { f.converse(conn, answer) })
		}
	})
	return f
}

func (f *fake) converse(conn net.Conn, answer func(string) string) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		var request string
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if request += line; line == "\r\n" {
				break
			}
		}
		f.mu.Lock()
		f.seen = append(f.seen, request)
		f.mu.Unlock()
		text := answer(request)
		if text == "" {
			return
		}
		if !f.countless.Load() {
			text = strings.Replace(text, "\r\n", "\r\nCSeq: "+header(request, "CSeq")+"\r\n", 1)
		}
		if _, err := io.WriteString(conn, text); err != nil {
			return
		}
	}
}

func (f *fake) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.seen...)
}

func header(request, name string) string {
	return message{lines: strings.Split(request, "\r\n")}.header(name)
}

func open(t *testing.T, url string) *Relay {
	t.Helper()
	r, err := Open(t.Context(), url, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// client is what FFmpeg would be.
func client(t *testing.T, r *Relay) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", r.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return newPeer(conn)
}

func ask(t *testing.T, c *peer, method, uri string, seq int) (message, error) {
	t.Helper()
	if _, err := fmt.Fprintf(c, "%s %s RTSP/1.0\r\nCSeq: %d\r\n\r\n", method, uri, seq); err != nil {
		return message{}, err
	}
	return c.next()
}

const (
	fine      = "RTSP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nv=0\r\n"
	basic     = "RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n"
	digest    = "RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n"
	redirects = "RTSP/1.0 302 Found\r\nLocation: %s\r\n\r\n"
)

// The camera gets the login for the address as configured, the client gets the answer
// and never had a password.
func TestLogin(t *testing.T) {
	f := serve(t, func(request string) string {
		if header(request, "Authorization") == "" {
			return digest
		}
		return fine
	})
	r := open(t, "rtsp://"+user+":"+password+"@"+f.addr+"/live?channel=1")
	if strings.Contains(r.URL(), password) {
		t.Errorf("the client's address is %s", r.URL())
	}
	c := client(t, r)
	for i, track := range []string{"", "/trackID=1"} {
		m, err := ask(t, c, "DESCRIBE", r.URL()+track, i+1)
		if err != nil || m.status() != 200 || string(m.body) != "v=0\r\n" {
			t.Fatalf("got %q, %v", m.bytes(), err)
		}
	}
	all := f.requests()
	if len(all) != 3 {
		t.Fatalf("%d requests for two answers, want one more", len(all))
	}
	sum := func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }
	for i, track := range []string{"", "/trackID=1"} {
		uri := "rtsp://" + f.addr + "/live?channel=1" + track
		response := sum(sum(user+":r:"+password) + ":n:" + sum("DESCRIBE:"+uri))
		if q := all[i+1]; !strings.HasPrefix(q, "DESCRIBE "+uri+" RTSP/1.0\r\n") || !strings.Contains(q, `response="`+response+`"`) {
			t.Errorf("the camera was asked %q", q)
		}
	}
}

// Wherever a redirect leads, user and password stay with the configured host.
func TestRedirectsGetNoPassword(t *testing.T) {
	for name, first := range map[string]string{"at once": "", "after a login": basic} {
		t.Run(name, func(t *testing.T) {
			other := serve(t, func(string) string { return basic })
			f := serve(t, func(request string) string {
				if first != "" && header(request, "Authorization") == "" {
					return first
				}
				return fmt.Sprintf(redirects, "rtsp://x:y@"+other.addr+"/steal")
			})
			r := open(t, "rtsp://"+user+":"+password+"@"+f.addr+"/live")
			m, err := ask(t, client(t, r), "DESCRIBE", r.URL(), 1)
			if err != nil || m.status() != 401 {
				t.Fatalf("got %q, %v, want the other host's refusal", m.bytes(), err)
			}
			all := other.requests()
			if len(all) != 1 || !strings.HasPrefix(all[0], "DESCRIBE rtsp://"+other.addr+"/steal RTSP/1.0\r\n") || strings.Contains(all[0], "uthorization") {
				t.Errorf("the other host was asked %q", all)
			}
			if p := r.Problem(); !p.Redirected || p.Status != 401 {
				t.Errorf("the problem is %+v", p)
			}
		})
	}
}

// A redirect on the same host is followed with the login, and what the client asks
// afterwards goes to the new address.
func TestRedirectsOnTheSameHost(t *testing.T) {
	f := serve(t, func(request string) string {
		switch {
		case !strings.Contains(request, "/new"):
			return fmt.Sprintf(redirects, "/new")
		case header(request, "Authorization") == "":
			return basic
		}
		return fine
	})
	r := open(t, "rtsp://"+user+":"+password+"@"+f.addr+"/old")
	c := client(t, r)
	for i := range 2 {
		if m, err := ask(t, c, "DESCRIBE", r.URL()+"/track", i+1); err != nil || m.status() != 200 {
			t.Fatalf("got %q, %v", m.bytes(), err)
		}
	}
	if all := f.requests(); !strings.HasPrefix(all[len(all)-1], "DESCRIBE rtsp://"+f.addr+"/new/track ") {
		t.Errorf("asked %q", all)
	}
}

// A camera that gives its answers another number, or none, is logged in to all the same.
func TestLoginWithoutNumbers(t *testing.T) {
	for _, cseq := range []string{"", "CSeq: 99\r\n"} {
		f := serve(t, func(request string) string {
			if header(request, "Authorization") == "" {
				return "RTSP/1.0  401 Unauthorized\r\n" + cseq + "WWW-Authenticate: Basic realm=\"x\"\r\n\r\n"
			}
			return "RTSP/1.0 200 OK\r\n" + cseq + "\r\n"
		})
		f.countless.Store(true)
		r := open(t, "rtsp://"+user+":"+password+"@"+f.addr+"/live")
		c := client(t, r)
		for i := range 2 {
			if m, err := ask(t, c, "DESCRIBE", r.URL(), i+1); err != nil || m.status() != 200 {
				t.Errorf("with %q: got %q, %v", cseq, m.bytes(), err)
			}
		}
	}
}

// Nothing comes through that FFmpeg would read in another way than the Relay: what has
// no bounds to it, and a redirect that it follows itself.
func TestNothingIsReadTwice(t *testing.T) {
	const whole = "RTSP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nv"
	for name, c := range map[string]struct{ sends, comes string }{
		"a header in small letters":    {"rtsp/1.0 200 ok\r\ncontent-length: 2000000000\r\n\r\n" + whole, whole},
		"two lengths":                  {"RTSP/1.0 200 OK\r\nContent-Length: 1\r\ncontent-length: 2000000000\r\n\r\nv", whole},
		"a length with a space before": {"RTSP/1.0 200 OK\r\n Content-Length : 1\r\n\r\nv", whole},
		"a length with a return in it": {"RTSP/1.0 200 OK\r\nContent-\rLength: 1\r\n\r\nv", whole},
		"a packet in a header":         {"RTSP/1.0 200 OK\r\n$\x00\x00\x02\r\nContent-Length: 1\r\n\r\nv", whole},
		"a zero in a header":           {"RTSP/1.0 200 OK\r\n\x00\r\nX: y\r\n", "RTSP/1.0 200 OK\r\n\r\n"},
		"a redirect of another kind":   {"RTSP/1.0 304 No\r\nLocation: rtsp://elsewhere/\r\n\r\n", "RTSP/1.0 304 No\r\n\r\n"},
	} {
		f := serve(t, func(string) string { return c.sends })
		f.countless.Store(true)
		r := open(t, "rtsp://"+f.addr+"/live")
		conn := client(t, r)
		if _, err := fmt.Fprintf(conn, "DESCRIBE %s RTSP/1.0\r\nCSeq: 1\r\n\r\n", r.URL()); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(c.comes))
		if _, err := io.ReadFull(conn.r, got); err != nil || string(got) != c.comes {
			t.Errorf("%s: the client got %q, %v, want %q", name, got, err, c.comes)
		}
	}
}

// What a camera may send is bounded, whoever asks.
func TestHostileCameras(t *testing.T) {
	self := ""
	for name, c := range map[string]struct{ sends, says string }{
		"a description of 2 GB": {"RTSP/1.0 200 OK\r\nContent-Length: 2000000000\r\n\r\n", "a description of 2000000000 bytes"},
		"a negative length":     {"RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n", "a description of -1 bytes"},
		"an endless header":     {"RTSP/1.0 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("a", 8000)+"\r\n", 100), "a header of more than"},
		"an endless line":       {"RTSP/1.0 200 OK\r\nX: " + strings.Repeat("a", 1<<20), "a header of more than"},
		"no RTSP":               {"HTTP/1.1 200 OK\r\n\r\n", "does not speak RTSP"},
		"a file":                {fmt.Sprintf(redirects, "file:///etc/passwd"), "no RTSP address"},
		"redirects for ever":    {"", "redirects more than"},
		"a way to nowhere":      {fmt.Sprintf(redirects, "rtsp://127.0.0.1:1/x"), "cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, func(string) string {
				if c.sends == "" {
					return fmt.Sprintf(redirects, "rtsp://"+self+"/again")
				}
				return c.sends
			})
			self = f.addr
			r := open(t, "rtsp://"+user+":"+password+"@"+f.addr+"/live")
			if m, err := ask(t, client(t, r), "DESCRIBE", r.URL(), 1); err == nil {
				t.Errorf("the client got %.200q", m.bytes())
			}
			_ = r.Close()
			if p := r.Problem(); p.Err == nil || !strings.Contains(p.Err.Error(), c.says) || strings.Contains(p.Err.Error(), password) {
				t.Errorf("the problem is %v, want %q in it", p.Err, c.says)
			}
		})
	}
}

// Frames pass unchanged, without what some cameras put between them.
func TestFramesPass(t *testing.T) {
	packet := "$\x00\x01\x00" + strings.Repeat("A", 256)
	f := serve(t, func(string) string { return "RTSP/1.0 200 OK\r\n\r\n\r\n" + packet + "\r\n\x00" + packet })
	r := open(t, "rtsp://"+f.addr+"/live")
	c := client(t, r)
	if m, err := ask(t, c, "PLAY", r.URL(), 1); err != nil || m.status() != 200 {
		t.Fatalf("got %q, %v", m.bytes(), err)
	}
	got := make([]byte, 2*len(packet))
	if _, err := io.ReadFull(c.r, got); err != nil || string(got) != packet+packet {
		t.Errorf("got %q, %v", got, err)
	}
}

// Others on this machine do not get the camera's pictures without a password.
func TestStrangersGetNothing(t *testing.T) {
	f := serve(t, func(string) string { return fine })
	r := open(t, "rtsp://"+user+":"+password+"@"+f.addr+"/live")
	stranger := client(t, r)
	if m, err := ask(t, stranger, "DESCRIBE", "rtsp://"+r.listener.Addr().String()+"/live", 1); err == nil {
		t.Errorf("a stranger got %q", m.bytes())
	}
	if m, err := ask(t, client(t, r), "DESCRIBE", r.URL(), 1); err != nil || m.status() != 200 {
		t.Errorf("afterwards: got %q, %v", m.bytes(), err)
	}
	if n := len(f.requests()); n != 1 {
		t.Errorf("the camera was asked %d times", n)
	}
}

// A client that never comes, and one that leaves, leave nothing running.
func TestCloseWithoutAClient(t *testing.T) {
	f := serve(t, func(string) string { return fine })
	if err := open(t, "rtsp://"+f.addr).Close(); err != nil {
		t.Error(err)
	}
}

func TestAddresses(t *testing.T) {
	for raw, want := range map[string]string{
		"rtsp://u:p@cam/live":          "rtsp://cam:554/live u p",
		"rtsps://u:p%40x@cam/":         "rtsps://cam:322/ u p@x",
		"RTSP://u:p^[x]@cam:1?a=b@c":   "rtsp://cam:1?a=b@c u p^[x]",
		"rtsp://u%3a:50%@cam/%41":      "rtsp://cam:554/%41 u: 50%",
		"rtsp://u:%zz%2520%@cam/":      "rtsp://cam:554/ u %zz%20%",
		"rtsp://u:p@q@[2001:db8::1]/x": "rtsp://[2001:db8::1]:554/x u p@q",
	} {
		at, login, err := parseURL(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		p, _ := login.Password()
		if got := at.String() + " " + login.Username() + " " + p; got != want {
			t.Errorf("%s: got %s, want %s", raw, got, want)
		}
	}
	for _, raw := range []string{"", "rtsp://", "rtsp://cam:0/", "rtsp://cam:x/", "http://cam/", "rtsp://cam/a b", "rtsp://cam/\r\nX: y", "rtsp://ca\r\nm/"} {
		if at, _, err := parseURL(raw); err == nil {
			t.Errorf("%q: got %s, want an error", raw, at)
		}
	}
}

// FuzzNext: whatever arrives, a message stays within its bounds and nothing panics.
func FuzzNext(f *testing.F) {
	f.Add("RTSP/1.0 401 U\r\nCSeq: 1\r\nContent-Length: 3\r\n\r\nabc$\x00\x00\x01x")
	f.Add("REDIRECT rtsp://a RTSP/1.0\r\nContent-Length: 999999999999999999999\r\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		p := &peer{r: bufio.NewReaderSize(strings.NewReader(text), 64<<10)}
		for {
			m, err := p.next()
			if err != nil {
				return
			}
			if n := len(m.bytes()); n > maxHeader+maxBody+100 {
				t.Fatalf("a message of %d bytes", n)
			}
			_, _, _ = m.status(), m.method(), m.header("CSeq")
			if m.answer() {
				_ = m.without("X").with("A", "b").withURI("u")
			}
		}
	})
}
