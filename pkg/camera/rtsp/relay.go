// Package rtsp stands between an RTSP client that cannot be trusted with a password,
// FFmpeg or GStreamer, and a camera. The client gets an address of this machine without
// user and password; a Relay passes on what it asks, logs in itself, and follows
// redirects itself. It promises that user and password go to the configured host and
// port only, and that no header or description is larger than its bounds, whatever the
// camera sends. Frames pass unread. It makes nothing of what fails: the client's
// connection ends, and Problem has the reason. Only pkg/camera's sources use it.
package rtsp

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"framekeeper/pkg/camera/identity"
)

const (
	maxRedirects = 5
	maxLogins    = 3  // for one request: a nonce may be too old, but not every time
	maxPending   = 16 // requests that a client has not had the answer to
)

// Relay passes one connection of a client on to a camera. Close ends it.
type Relay struct {
	listener net.Listener
	base     string // the address for the client, with a token: without it nobody gets in
	timeout  time.Duration
	roots    *x509.CertPool // who may sign a camera's certificate; nil: the system's
	cancel   context.CancelFunc
	done     sync.WaitGroup

	mu      sync.Mutex // guards all below
	camera  *peer      // the connection to the camera
	client  net.Conn   // nil until it has come
	target  target     // where requests go
	origin  target     // as configured: whom user and password are for
	login   *identity.Login
	pending map[string]*request // by CSeq
	last    *request            // the latest of them, nil if it has its answer
	problem Problem
	closed  bool
}

// Problem is what went wrong between camera and Relay.
type Problem struct {
	Status     int   // of the camera's last answer; 0: there was none
	Err        error // why the connection has ended; nil: the client or Close ended it
	Redirected bool  // another host than the configured one answered, which gets no password
}

// request is what a client asked, for it to be asked again.
type request struct {
	message
	logins int
}

// Open connects to the camera of an rtsp:// or rtsps:// URL. Its errors do not show the
// URL. A step that takes longer than timeout fails; frames may take their time.
func Open(ctx context.Context, rawURL string, timeout time.Duration) (*Relay, error) {
	at, user, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	r := &Relay{timeout: timeout, target: at, origin: at, login: identity.New(user), pending: map[string]*request{}}
	if r.camera, err = r.dial(ctx, at); err != nil {
		return nil, err
	}
	if r.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		_ = r.camera.Close()
		return nil, fmt.Errorf("listen for the RTSP client: %w", err)
	}
	r.base = "rtsp://" + r.listener.Addr().String() + "/" + rand.Text()
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.cancel = cancel
	r.done.Add(1)
	go r.run(running)
	return r, nil
}

// URL is what the client is to open.
func (r *Relay) URL() string { return r.base + r.origin.path }

// Problem is what went wrong so far.
func (r *Relay) Problem() Problem {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.problem
}

// Close ends both connections and returns when nothing runs any more.
func (r *Relay) Close() error {
	r.cancel()
	r.mu.Lock()
	r.closed = true
	_ = r.listener.Close()
	_ = r.camera.Close()
	if r.client != nil {
		_ = r.client.Close()
	}
	r.mu.Unlock()
	r.done.Wait()
	return nil
}

// run serves the first client that knows the token, until either side ends.
func (r *Relay) run(ctx context.Context) {
	defer r.done.Done()
	client, first, err := r.accept()
	_ = r.listener.Close() // there is one client
	if err != nil {
		return
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.end(r.answers(ctx, client.Conn))
	}()
	r.end(r.requests(client, first))
	<-ended
}

// end closes both sides. The first error counts.
func (r *Relay) end(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.problem.Err == nil && !r.closed {
		r.problem.Err = err
	}
	r.closed = true
	_, _ = r.camera.Close(), r.client.Close()
}

// accept waits for the client.
func (r *Relay) accept() (*peer, message, error) {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return nil, message{}, err
		}
		p := newPeer(conn)
		_ = conn.SetReadDeadline(time.Now().Add(r.timeout))
		first, err := p.next()
		if err != nil || !strings.HasPrefix(first.uri(), r.base) {
			_ = conn.Close()
			continue
		}
		_ = conn.SetReadDeadline(time.Time{})
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.closed {
			_ = conn.Close()
			return nil, message{}, net.ErrClosed
		}
		r.client = conn
		return p, first, nil
	}
}

// requests passes on what the client sends, until it has ended: that is no error.
func (r *Relay) requests(client *peer, m message) error {
	for {
		if err := r.request(m); err != nil {
			return err
		}
		var err error
		if m, err = client.next(); err != nil {
			return nil
		}
	}
}

func (r *Relay) request(m message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.raw() || m.answer() { // receiver reports; what the client says to the camera's own requests
		return r.send(m)
	}
	q := &request{message: m}
	if len(r.pending) >= maxPending {
		clear(r.pending) // answers that the client does not wait for
	}
	r.pending[m.header("CSeq")], r.last = q, q
	return r.ask(q)
}

// ask sends a request to the present target. The caller holds mu.
func (r *Relay) ask(q *request) error {
	method, uri := q.method(), r.rewritten(q.uri())
	m := q.withURI(uri).without("Authorization")
	if r.target.trusted(r.origin) {
		if h := r.login.Header(method, uri); h != "" {
			m = m.with("Authorization", h)
		}
	}
	return r.send(m)
}

// send never waits long: it holds mu, which Close needs.
func (r *Relay) send(m message) error {
	_ = r.camera.SetWriteDeadline(time.Now().Add(r.timeout)) // fails on a closed connection only
	_, err := r.camera.Write(m.bytes())
	return err
}

// rewritten is a URI of ours as the camera knows it. A track's has more behind it.
func (r *Relay) rewritten(uri string) string {
	if rest, ok := strings.CutPrefix(uri, r.URL()); ok {
		return r.target.String() + rest
	}
	if rest, ok := strings.CutPrefix(uri, r.base); ok {
		return r.target.root() + rest
	}
	return uri
}

// answers passes on what the camera sends.
func (r *Relay) answers(ctx context.Context, client net.Conn) error {
	for {
		m, err := r.from().next()
		if err != nil {
			return err
		}
		pass := true
		if m.answer() {
			if pass, err = r.answered(ctx, m); err != nil {
				return err
			}
		}
		if !pass {
			continue
		}
		if _, err := client.Write(m.without("Location").bytes()); err != nil { // it would go there itself
			return nil // it has ended
		}
	}
}

func (r *Relay) from() *peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.camera
}

// answered reports whether the answer is for the client. Else the request was repeated,
// with a login or somewhere else.
func (r *Relay) answered(ctx context.Context, m message) (pass bool, err error) {
	status := m.status()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problem.Status, r.problem.Redirected = status, !r.target.trusted(r.origin)
	q := r.pending[m.header("CSeq")]
	if q == nil { // of a camera that does not count, and FFmpeg takes it for that too
		q = r.last
	}
	switch {
	case q == nil:
		return true, nil
	case status < 300 && status >= 100:
	case status == http.StatusUnauthorized && !r.problem.Redirected && q.logins < maxLogins && r.login.Choose(m.headers("WWW-Authenticate")):
		q.logins++
		return false, r.ask(q)
	case status >= 300 && status < 400 && status != http.StatusNotModified:
		return false, r.follow(ctx, q, m.header("Location"))
	}
	if delete(r.pending, q.header("CSeq")); q == r.last {
		r.last = nil
	}
	return true, nil
}

// follow asks another address. The caller holds mu, and nobody else reads from the camera.
func (r *Relay) follow(ctx context.Context, q *request, location string) error {
	next, err := r.target.resolve(location)
	if err != nil {
		return err
	}
	if next.hops = r.target.hops + 1; next.hops > maxRedirects {
		return fmt.Errorf("%w redirects more than %d times", ErrCamera, maxRedirects)
	}
	_ = r.camera.Close()
	camera, err := r.dial(ctx, next)
	if err != nil {
		return fmt.Errorf("%w redirects to an address that cannot be reached: %w", ErrCamera, err)
	}
	r.camera, r.target = camera, next
	if r.closed {
		_ = camera.Close()
	}
	return r.ask(q)
}

// parseURL takes an address apart as FFmpeg does: a password may have characters that
// a URL cannot have.
func parseURL(raw string) (target, *url.Userinfo, error) {
	scheme, rest, _ := strings.Cut(raw, "://")
	authority, path := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	var user *url.Userinfo
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		name, password, _ := strings.Cut(authority[:i], ":")
		user, authority = url.UserPassword(unescaped(name), unescaped(password)), authority[i+1:]
	}
	at, err := newTarget(scheme, authority, path)
	return at, user, err
}

var escape = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

// unescaped has a percent sign that begins no escape as it is.
func unescaped(s string) string {
	return escape.ReplaceAllStringFunc(s, func(e string) string {
		c, _ := hex.DecodeString(e[1:]) // it is one byte in hexadecimal
		return string(c)
	})
}

// ErrCamera begins an error about what a camera does.
var ErrCamera = errors.New("it")

// IsEnd reports whether an error only says that the camera has ended the connection.
func IsEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed)
}

// IsCertificate reports whether an error says that a camera's certificate is not trusted.
func IsCertificate(err error) bool {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	return errors.As(err, &unknown) || errors.As(err, &name) || errors.As(err, &invalid)
}

// ErrURL says how an address is written.
var ErrURL = errors.New("expected rtsp://user:password@host:port/path, with %40 for an @ and %2F for a / in the password")

// target is where requests go.
type target struct {
	scheme, host, port string
	path               string // with the query, as it was written
	hops               int    // redirects on the way here
}

func newTarget(scheme, authority, path string) (target, error) {
	at := target{scheme: strings.ToLower(scheme), path: path}
	u, err := url.Parse("rtsp://" + authority)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Host != authority || at.scheme != "rtsp" && at.scheme != "rtsps" || strings.ContainsFunc(path, unprintable) {
		return at, ErrURL
	}
	at.host, at.port = u.Hostname(), u.Port()
	if at.port == "" {
		at.port = map[string]string{"rtsp": "554", "rtsps": "322"}[at.scheme]
	}
	if n, err := strconv.ParseUint(at.port, 10, 16); err != nil || n == 0 {
		return at, ErrURL
	}
	return at, nil
}

func unprintable(c rune) bool { return c <= ' ' || c == 0x7f }

func (t target) root() string   { return t.scheme + "://" + net.JoinHostPort(t.host, t.port) }
func (t target) String() string { return t.root() + t.path }

// trusted reports whether user and password for origin may be sent there: to its host
// and port only, or to the same host by TLS.
func (t target) trusted(origin target) bool {
	if !strings.EqualFold(t.host, origin.host) {
		return false
	}
	return t.scheme == origin.scheme && t.port == origin.port || t.scheme == "rtsps" && t.port == "322" && origin.scheme == "rtsp"
}

// resolve is where a redirect leads.
func (t target) resolve(location string) (target, error) {
	errElsewhere := fmt.Errorf("%w redirects to what is no RTSP address", ErrCamera)
	if strings.HasPrefix(location, "/") {
		next, err := newTarget(t.scheme, net.JoinHostPort(t.host, t.port), location)
		if err != nil {
			return t, errElsewhere
		}
		return next, nil
	}
	next, _, err := parseURL(location) // whatever user it names is not believed
	if err != nil {
		return t, errElsewhere
	}
	return next, nil
}

var _ io.Closer = (*Relay)(nil)
