package mjpeg

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/camera/identity"
)

// streaming serves the JPEGs as one multipart answer and then waits for the
// client to go.
func streaming(contentType, before, after string, length bool, jpegs ...[]byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for _, j := range jpegs {
			head := before
			if length {
				head = strings.Replace(head, "LENGTH", fmt.Sprint(len(j)), 1)
			}
			_, _ = w.Write(slices.Concat([]byte(head), j, []byte(after)))
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	}
}

func serve(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// TestHTTPPassesThrough: in every shape of multipart, what goes in comes out.
func TestHTTPPassesThrough(t *testing.T) {
	want := [][]byte{picture(t, 1, 640, 480), picture(t, 2, 320, 240), picture(t, 3, 16, 16)}
	for name, h := range map[string]http.HandlerFunc{
		"with lengths":       streaming("multipart/x-mixed-replace; boundary=frame", "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: LENGTH\r\n\r\n", "\r\n", true, want...),
		"without lengths":    streaming("multipart/x-mixed-replace;boundary=frame", "--frame\r\nContent-Type: image/jpeg\r\n\r\n", "\r\n", false, want...),
		"quoted boundary":    streaming(`multipart/x-mixed-replace; boundary="a b"`, "--a b\r\n\r\n", "\r\n", false, want...),
		"dashes in the name": streaming("multipart/x-mixed-replace; boundary=--frame", "--frame\r\n\r\n", "\r\n", false, want...),
		"bad boundary":       streaming("multipart/x-mixed-replace; boundary=a@b=c", "--a@b=c\r\n\r\n", "\r\n", false, want...),
		"bare line feeds":    streaming("multipart/x-mixed-replace; boundary=frame", "--frame\nContent-Length: LENGTH\n\n", "\n", true, want...),
		"no parts at all":    streaming("video/x-motion-jpeg", "", "", false, want...),
		"no type":            streaming("", "", "", false, want...),
	} {
		t.Run(name, func(t *testing.T) {
			src := mustOpen(t, serve(t, h).URL+"/stream?q=1")
			if i := src.Info(); i.Width != 640 || i.Height != 480 || i.FPS != 0 || i.Driver != "http" || i.Format != camera.MJPEG || i.Latency != time.Second/30 {
				t.Errorf("Info is %+v", i)
			}
			var f camera.Frame
			for n, data := range want {
				if err := src.Next(t.Context(), &f); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(f.Data, data) || f.Seq != uint64(n+1) {
					t.Fatalf("frame %d: %d bytes, seq %d", n+1, len(f.Data), f.Seq)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			go cancel()
			if err := src.Next(ctx, &f); !errors.Is(err, context.Canceled) {
				t.Errorf("the end of ctx gave %v", err)
			}
		})
	}
}

func TestHTTPCloseUnblocksNext(t *testing.T) {
	src := mustOpen(t, serve(t, streaming("multipart/x-mixed-replace", "", "", false, picture(t, 1, 16, 16))).URL)
	var f camera.Frame
	if err := src.Next(t.Context(), &f); err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() { got <- src.Next(t.Context(), &f) }()
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	if err := <-got; !errors.Is(err, camera.ErrClosed) {
		t.Errorf("Next gave %v", err)
	}
}

// TestHTTPImages: single images are requested again and again, at the
// configured rate, on one connection.
func TestHTTPImages(t *testing.T) {
	var n atomic.Int64
	addresses := map[string]bool{}
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		addresses[r.RemoteAddr] = true // one request at a time
		w.Header().Set("Content-Type", "image/jpeg")
		j := picture(t, int(n.Add(1)), 64, 48)
		if n.Load() == 3 {
			j = j[:len(j)/2] // a camera that was caught writing its file
		}
		_, _ = w.Write(j)
	}))
	cfg := config(s.URL)
	cfg.FPS = 50
	src, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var f camera.Frame
	for i, number := range []int{1, 2, 4, 5} {
		if err := src.Next(t.Context(), &f); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(f.Data, picture(t, number, 64, 48)) || f.Seq != uint64(number) {
			t.Errorf("image %d is not number %d, seq %d", i, number, f.Seq)
		}
	}
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("4 requests at 50 a second took %v", took)
	}
	if src.Info().FPS != 50 || src.Info().Driver != "http images" {
		t.Errorf("Info is %+v", src.Info())
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	s.Close()
	if len(addresses) != 1 {
		t.Errorf("%d connections, want one", len(addresses))
	}
}

// TestHTTPImagesOfAnyType: bytes decide what is a JPEG, whatever the server calls it.
func TestHTTPImagesOfAnyType(t *testing.T) {
	jpg := picture(t, 1, 64, 48)
	for name, types := range map[string][]string{
		"text": {"text/plain"}, "page": {"text/html"}, "quoted": {`"image/jpeg"`}, "other image": {"image/x-jpeg"},
		"two types": {"text/html", "image/jpeg"}, "none": {""}, "bytes": {"application/octet-stream"},
	} {
		for _, sized := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, length known: %v", name, sized), func(t *testing.T) {
				s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header()["Content-Type"] = types
					if !sized {
						w.(http.Flusher).Flush()
					}
					_, _ = w.Write(jpg)
				}))
				src := mustOpen(t, s.URL)
				var f camera.Frame
				for n := range uint64(3) {
					if err := src.Next(t.Context(), &f); err != nil || !bytes.Equal(f.Data, jpg) || f.Seq != n+1 {
						t.Fatalf("image %d: %d bytes, seq %d, %v", n+1, len(f.Data), f.Seq, err)
					}
				}
			})
		}
	}
}

// TestHTTPSlowImages: a camera that takes longer for an image than stall_timeout is
// slow and not broken; how long it takes is what the watchdog goes by.
func TestHTTPSlowImages(t *testing.T) {
	const took = 300 * time.Millisecond
	jpg := picture(t, 1, 64, 48)
	cfg := config(serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(took)
		_, _ = w.Write(jpg)
	})).URL)
	cfg.StallTimeout = 100 * time.Millisecond
	g := camera.NewGrabber(cfg, Open, zerolog.Nop())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	for after := uint64(0); after < 4; {
		f, ticket, err := g.Wait(ctx, after)
		if err != nil {
			t.Fatal(err)
		}
		f.Release()
		after = ticket
	}
	if h := g.Health(); h.Stalls != 0 || h.Reopens != 0 || h.Info.FPS > 1/took.Seconds() {
		t.Errorf("health %+v, want no stall and the camera's own rate", h)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestHTTPPlaceholders: what a server calls a placeholder is no exposure.
func TestHTTPPlaceholders(t *testing.T) {
	real, blank := picture(t, 1, 64, 48), picture(t, 2, 64, 48)
	part := func(online string, j []byte) []byte {
		return slices.Concat([]byte("--x\r\nContent-Type: image/jpeg\r\nX-UStreamer-Online: "+online+"\r\n\r\n"), j, []byte("\r\n"))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/stream", streaming("multipart/x-mixed-replace;boundary=x", "", "", false, part("true", real), part("false", blank)))
	mux.HandleFunc("/cut", streaming("multipart/x-mixed-replace;boundary=x", "", "", false, part("true", real), part("true", real[:2]), part("false", blank)))
	mux.HandleFunc("/away", streaming("multipart/x-mixed-replace;boundary=x", "", "", false, part("false", blank)))
	var n atomic.Int64
	mux.HandleFunc("/snapshot", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-UStreamer-Online", fmt.Sprint(n.Add(1) == 1))
		_, _ = w.Write(real)
	})
	s := serve(t, mux)
	for _, path := range []string{"/stream", "/cut", "/snapshot"} {
		src := mustOpen(t, s.URL+path)
		var f camera.Frame
		if err := src.Next(t.Context(), &f); err != nil || !bytes.Equal(f.Data, real) {
			t.Fatalf("%s: %v", path, err)
		}
		err := src.Next(t.Context(), &f)
		if d := src.(camera.DefectCounter).Defects(); !errors.Is(err, errOffline) || d.Last != errOffline.Error() {
			t.Errorf("%s: a placeholder gave %v, defects %+v", path, err, d)
		}
	}
	if _, err := Open(t.Context(), config(s.URL+"/away")); !errors.Is(err, camera.ErrNoData) || !strings.Contains(err.Error(), "placeholder") {
		t.Errorf("placeholders from the beginning gave %v", err)
	}
}

// TestHTTPImagesThenAPage: a page in place of an image ends the source.
func TestHTTPImagesThenAPage(t *testing.T) {
	jpg := picture(t, 1, 64, 48)
	var n atomic.Int64
	src := mustOpen(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) > 1 {
			_, _ = io.WriteString(w, "<html>log in</html>")
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write(jpg)
	})).URL)
	var f camera.Frame
	if err := src.Next(t.Context(), &f); err != nil {
		t.Fatal(err)
	}
	if err := src.Next(t.Context(), &f); !errors.Is(err, camera.ErrNoData) || !strings.Contains(err.Error(), `"text/html"`) {
		t.Errorf("a page gave %v", err)
	}
}

// TestHTTPRefuses: errors say what is wrong and show neither user nor password.
func TestHTTPRefuses(t *testing.T) {
	mux := http.NewServeMux()
	for path, h := range map[string]http.HandlerFunc{
		"/text":      func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>log in</html>") },
		"/busy":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"/forbidden": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"/broken":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"/user": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Basic realm="cam"`)
			w.WriteHeader(http.StatusUnauthorized)
		},
		"/kerberos": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", "Negotiate")
			w.WriteHeader(http.StatusUnauthorized)
		},
		"/loop": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) },
		"/ftp": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "ftp://x/")
			w.WriteHeader(http.StatusFound)
		},
		"/end": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "multipart/x-mixed-replace")
		},
		"/other": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "video/h264")
			_, _ = io.CopyN(w, endless("h264"), 5<<20)
		},
		"/half": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "image/jpeg")
			_, _ = w.Write([]byte{0xff, 0xd8, 0xff, 0xdb})
		},
		"/hangup": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"/header": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("y", 1<<20)) },
	} {
		mux.HandleFunc(path, h)
	}
	s := serve(t, mux)
	gone := httptest.NewServer(mux)
	gone.Close()
	login := func(server *httptest.Server, path string) string {
		return strings.Replace(server.URL, "://", "://joe:hunter2@", 1) + path
	}
	for source, want := range map[string]struct {
		kind error
		text string
	}{
		login(s, "/text"):                    {camera.ErrNoData, `sends "text/html", expected multipart`},
		login(s, "/busy"):                    {camera.ErrBusy, "503"},
		login(s, "/broken"):                  {camera.ErrNoData, "500"},
		login(s, "/missing"):                 {camera.ErrNoDevice, "404"},
		login(s, "/user"):                    {camera.ErrRefused, "refuses user or password"},
		s.URL + "/user":                      {camera.ErrRefused, "wants user and password"},
		login(s, "/kerberos"):                {camera.ErrRefused, "not known here"},
		login(s, "/forbidden"):               {camera.ErrRefused, "403"},
		login(s, "/loop"):                    {camera.ErrNoDevice, "redirects more than"},
		login(s, "/ftp"):                     {camera.ErrNoDevice, "no http or https URL"},
		login(s, "/end"):                     {camera.ErrNoData, "has ended the stream"},
		login(s, "/other"):                   {camera.ErrNoData, "no JPEG in them"},
		login(s, "/header"):                  {camera.ErrNoDevice, "header"},
		login(s, "/half"):                    {camera.ErrNoData, "image is no whole JPEG"},
		login(s, "/hangup"):                  {camera.ErrNoDevice, "without an answer; does it speak http?"},
		login(gone, "/"):                     {camera.ErrNoDevice, "nothing listens at 127.0.0.1:"},
		"http://joe:hun/ter2@127.0.0.1:1/":   {camera.ErrNoDevice, "%2F"},
		"http://joe:12/hunter2@127.0.0.1:1/": {camera.ErrNoDevice, "%2F"},
		"http://joe:hunter%2@127.0.0.1:1/":   {camera.ErrNoDevice, "%25"},
		"https://joe:hunter2@" + s.Listener.Addr().String(): {camera.ErrNoDevice, "write http://"},
	} {
		src, err := Open(t.Context(), config(source))
		if err == nil {
			_ = src.Close()
		}
		text := fmt.Sprint(err)
		if !errors.Is(err, want.kind) || errors.Is(err, io.EOF) || !strings.Contains(text, want.text) || strings.Contains(text, "hun") || strings.Contains(text, "joe") {
			t.Errorf("%s: got %v, want %v and %q", source, err, want.kind, want.text)
		}
	}
}

// TestHTTPLogin plays servers that want basic or digest authentication, and
// checks the digests as RFC 7616 has a server do it.
func TestHTTPLogin(t *testing.T) {
	const user, password, realm, nonce = `jo"e`, "päss:w@rd/", "cam \"1\"", "abc=="
	digest := func(params string) string { return `Digest realm="cam \"1\"", nonce="abc==", opaque="op", ` + params }
	empty := `Digest realm="cam \"1\"", nonce="abc==", opaque="", qop="auth"`
	basic := `Basic realm="cam \"1\""`
	for name, c := range map[string]struct {
		offers []string
		want   string // the scheme and algorithm taken
	}{
		"basic":               {[]string{basic}, "basic"},
		"md5":                 {[]string{digest(`qop="auth"`)}, "md5"},
		"md5, empty opaque":   {[]string{empty}, "md5"},
		"md5, old":            {[]string{digest(`algorithm=MD5`)}, "md5"},
		"md5, several qops":   {[]string{digest(`qop="auth-int, auth", algorithm=MD5`)}, "md5"},
		"md5-sess":            {[]string{digest(`qop="auth", algorithm=MD5-sess`)}, "md5-sess"},
		"sha-256":             {[]string{digest(`qop="auth", algorithm=SHA-256`)}, "sha-256"},
		"the best of several": {[]string{basic, digest(`qop="auth", algorithm=MD5`), digest(`qop="auth", algorithm=SHA-512-256`), digest(`algorithm=SHA-256, qop=auth`)}, "sha-256"},
		"several in a header": {[]string{"Negotiate abc==, " + basic + ", " + digest(`qop="auth", stale=FALSE`)}, "md5"},
	} {
		t.Run(name, func(t *testing.T) {
			jpg, wantOpaque := picture(t, 1, 16, 16), "op"
			if c.offers[0] == empty {
				wantOpaque = ""
			}
			var requests atomic.Int64
			s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				got := identity.ParseChallenges([]string{r.Header.Get("Authorization")})
				ok := false
				if u, p, isBasic := r.BasicAuth(); isBasic {
					ok = c.want == "basic" && u == user && p == password
				} else if len(got) == 1 && got[0].Scheme == "digest" {
					opaque, given := got[0].Params["opaque"]
					ok = c.want == strings.ToLower(cmp.Or(got[0].Params["algorithm"], "md5")) && got[0].Params["username"] == user && got[0].Params["realm"] == realm && given && opaque == wantOpaque &&
						got[0].Params["uri"] == r.RequestURI && got[0].Params["response"] == respond(got[0].Params, c.want, user, password, nonce)
				}
				if !ok {
					for _, o := range c.offers {
						w.Header().Add("WWW-Authenticate", o)
					}
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				w.Header().Set("Content-Type", "image/jpeg")
				_, _ = w.Write(jpg)
			}))
			src := mustOpen(t, strings.Replace(s.URL, "://", "://jo%22e:p%C3%A4ss%3Aw%40rd%2F@", 1)+"/a%20b?c=d&e")
			var f camera.Frame
			for range 3 {
				if err := src.Next(t.Context(), &f); err != nil {
					t.Fatal(err)
				}
			}
			if n := requests.Load(); n != 4 {
				t.Errorf("%d requests for 3 images, want one more", n)
			}
		})
	}
}

// respond is what a server expects in response.
func respond(p map[string]string, algorithm, user, password, nonce string) string {
	h := func(s string) string {
		sum := md5.New()
		if strings.HasPrefix(algorithm, "sha-256") {
			sum = sha256.New()
		}
		_, _ = io.WriteString(sum, s)
		return hex.EncodeToString(sum.Sum(nil))
	}
	a1 := h(user + ":" + p["realm"] + ":" + password)
	if strings.HasSuffix(algorithm, "-sess") {
		a1 = h(a1 + ":" + nonce + ":" + p["cnonce"])
	}
	a2 := h("GET:" + p["uri"])
	if p["qop"] == "" {
		return h(a1 + ":" + nonce + ":" + a2)
	}
	return h(a1 + ":" + nonce + ":" + p["nc"] + ":" + p["cnonce"] + ":" + p["qop"] + ":" + a2)
}

// TestHTTPNonceExpires: a nonce too old is replaced, a wrong password is not
// tried for ever, not even when the server calls every nonce too old.
func TestHTTPNonceExpires(t *testing.T) {
	var requests, accepted atomic.Int64
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := requests.Add(1)
		if n%3 == 1 || r.URL.Path == "/never" {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Digest realm="r", qop="auth", nonce="%d", stale=true`, n))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		accepted.Add(1)
		w.Header().Set("Content-Type", "image/jpeg")
		_, _ = w.Write(picture(t, 1, 16, 16))
	}))
	source := strings.Replace(s.URL, "://", "://u:p@", 1)
	src := mustOpen(t, source)
	var f camera.Frame
	for range 6 {
		if err := src.Next(t.Context(), &f); err != nil {
			t.Fatal(err)
		}
	}
	if n := accepted.Load(); n != 6 {
		t.Errorf("%d images", n)
	}
	if _, err := Open(t.Context(), config(source+"/never")); !errors.Is(err, camera.ErrRefused) {
		t.Errorf("a server that is never content gave %v", err)
	}
}

// TestHTTPRedirects: the password goes to the configured host and port only.
func TestHTTPRedirects(t *testing.T) {
	jpg := picture(t, 1, 16, 16)
	var seen atomic.Value
	seen.Store("")
	elsewhere := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(seen.Load().(string) + r.Header.Get("Authorization"))
		if r.URL.Path == "/locked" {
			w.Header().Set("WWW-Authenticate", `Basic realm="phishing"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "image/jpeg")
		_, _ = w.Write(jpg)
	}))
	home := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); !ok {
			w.Header().Set("WWW-Authenticate", `Basic realm="home"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch r.URL.Path {
		case "/here":
			http.Redirect(w, r, "/image", http.StatusFound)
		case "/there", "/locked":
			http.Redirect(w, r, strings.Replace(elsewhere.URL, "://", "://x:y@", 1)+r.URL.Path, http.StatusTemporaryRedirect)
		default:
			w.Header().Set("Content-Type", "image/jpeg")
			_, _ = w.Write(jpg)
		}
	}))
	base := strings.Replace(home.URL, "://", "://u:hunter2@", 1)
	for _, path := range []string{"/here", "/there"} {
		src := mustOpen(t, base+path)
		var f camera.Frame
		for range 2 {
			if err := src.Next(t.Context(), &f); err != nil || !bytes.Equal(f.Data, jpg) {
				t.Fatalf("%s: %v", path, err)
			}
		}
	}
	if _, err := Open(t.Context(), config(base+"/locked")); !errors.Is(err, camera.ErrRefused) || !strings.Contains(err.Error(), "redirects to another") {
		t.Errorf("a redirect to one that wants a password gave %v", err)
	}
	if got := seen.Load().(string); got != "" {
		t.Errorf("the other server received %q", got)
	}
}

// TestHTTPS: a certificate must be one the system trusts, and over TLS the
// password may follow a redirect from http to https of the same host.
func TestHTTPS(t *testing.T) {
	jpg := picture(t, 1, 320, 240)
	s := httptest.NewUnstartedServer(streaming("multipart/x-mixed-replace", "--x\r\n\r\n", "", false, jpg, jpg))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it would complain of the first client
	s.StartTLS()
	defer s.Close()
	if _, err := Open(t.Context(), config(s.URL)); !errors.Is(err, camera.ErrRefused) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate gave %v", err)
	}
	f, err := newFetcher(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer f.transport.CloseIdleConnections()
	f.roots = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answer, err := f.get(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	split := NewSplitter(answer.Body, f.arrived)
	for range 2 {
		got, first, err := split.Next(nil)
		if err != nil || !bytes.Equal(got, jpg) || time.Since(first) > time.Minute {
			t.Fatalf("%d bytes of %v, %v", len(got), first, err)
		}
	}

	for to, want := range map[string]bool{
		"http://cam/x": true, "http://CAM/": true, "https://cam/": true, "http://cam:81/": false, "https://cam:444/": false, "http://cam2/": false,
	} {
		f, err := newFetcher("http://u:p@cam/stream")
		if err != nil {
			t.Fatal(err)
		}
		at, err := follow(f.url, to)
		if err != nil || f.trusts(at) != want {
			t.Errorf("%s is trusted: %v, want %v; %v", to, !want, want, err)
		}
	}
	if f, _ := newFetcher("https://u:p@cam/"); f.trusts(&url.URL{Scheme: "http", Host: "cam"}) {
		t.Error("the password would go over http instead of https")
	}
}
