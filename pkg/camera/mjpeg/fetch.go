package mjpeg

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/camera/identity"
)

const (
	dialTimeout   = 5 * time.Second // and for TLS; how long the answer may take, whoever reads decides
	maxRedirects  = 5
	maxLogins     = 3 // a nonce may be too old, but not every time
	maxHeader     = 64 << 10
	keepAliveTime = 5 * time.Second
)

// fetcher requests one URL and follows where the answer points. One goroutine
// uses it.
type fetcher struct {
	url       *url.URL // without user and password
	login     *identity.Login
	transport *http.Transport
	roots     *x509.CertPool              // who may sign a server's certificate; nil: the system's
	now       atomic.Pointer[timedReader] // of the connection in use
}

// newFetcher takes the URL apart. Its errors show nothing of it: a URL that is
// not one may have its password anywhere.
func newFetcher(source string) (*fetcher, error) {
	u, err := url.Parse(source)
	if err != nil || u.Hostname() == "" || strings.Contains(u.EscapedPath(), "@") {
		return nil, fmt.Errorf("%w: %s is not a URL; in user, password and path an @ is written %%40, a / %%2F, a : %%3A and a %% %%25",
			camera.ErrNoDevice, camera.RedactSource(source))
	}
	f := &fetcher{login: identity.New(u.User)}
	u.User, u.Fragment = nil, ""
	f.url = u
	f.transport = &http.Transport{
		DialContext:            f.dialPlain,
		DialTLSContext:         f.dialTLS,
		MaxResponseHeaderBytes: maxHeader,
		ReadBufferSize:         readSize,
		IdleConnTimeout:        time.Minute,
		DisableCompression:     true,
		// HTTP/2 would hide when the bytes came in.
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	return f, nil
}

// timedConn is a connection that measures when its bytes came in.
type timedConn struct {
	net.Conn
	in  *timedReader
	now *atomic.Pointer[timedReader]
}

func (c *timedConn) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.now.Store(c.in)
	return n, err
}

func (f *fetcher) dialPlain(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := f.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &lenientConn{Conn: conn}, nil
}

func (f *fetcher) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: keepAliveTime}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	in, err := newTimedReader(conn.(syscall.Conn)) //nolint:errcheck,forcetypeassert // TCP connections are
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &timedConn{conn, in, &f.now}, nil
}

// arrived is when the bytes last read did.
func (f *fetcher) arrived() time.Time {
	if in := f.now.Load(); in != nil {
		return in.arrived()
	}
	return time.Now()
}

// get requests the URL. The caller closes the answer's body.
func (f *fetcher) get(ctx context.Context) (*http.Response, error) {
	at := f.url
	for redirects, logins := 0, 0; ; {
		answer, err := f.request(ctx, at)
		if err != nil {
			return nil, unreachable(at, err)
		}
		if answer.StatusCode == http.StatusOK {
			return answer, nil
		}
		_ = answer.Body.Close()
		switch answer.StatusCode {
		case http.StatusUnauthorized:
			if logins++; logins > maxLogins || !f.trusts(at) || !f.login.Choose(answer.Header.Values("WWW-Authenticate")) {
				return nil, f.refused(at)
			}
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
			if redirects++; redirects > maxRedirects {
				return nil, fmt.Errorf("%w: the server redirects more than %d times", camera.ErrNoDevice, maxRedirects)
			}
			if at, err = follow(at, answer.Header.Get("Location")); err != nil {
				return nil, err
			}
		default:
			return nil, statusError(answer.StatusCode)
		}
	}
}

func (f *fetcher) request(ctx context.Context, at *url.URL) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, errors.New("make a request of the URL")
	}
	r.Header.Set("User-Agent", "framekeeper")
	if f.trusts(at) {
		if h := f.login.Header(http.MethodGet, at.RequestURI()); h != "" {
			r.Header.Set("Authorization", h)
		}
	}
	return f.transport.RoundTrip(r) // no http.Client: its errors quote the URL, and it follows redirects its own way
}

// trusts reports whether user and password may be sent there: to the
// configured host and port only, or to it by TLS.
func (f *fetcher) trusts(at *url.URL) bool {
	if at.Scheme == f.url.Scheme && strings.EqualFold(at.Host, f.url.Host) {
		return true
	}
	return f.url.Scheme == "http" && at.Scheme == "https" && at.Port() == "" && strings.EqualFold(at.Hostname(), f.url.Hostname())
}

func (f *fetcher) refused(at *url.URL) error {
	switch {
	case !f.trusts(at):
		return fmt.Errorf("%w: the server redirects to another one, which wants user and password; name that one in source", camera.ErrRefused)
	case !f.login.Known():
		return fmt.Errorf("%w: the server wants user and password: http://user:password@…", camera.ErrRefused)
	case !f.login.Chosen():
		return fmt.Errorf("%w: the server wants user and password in a way that is not known here, expected basic or digest", camera.ErrRefused)
	}
	return fmt.Errorf("%w: the server refuses user or password", camera.ErrRefused)
}

// follow is where a redirect goes.
func follow(at *url.URL, location string) (*url.URL, error) {
	to, err := at.Parse(location)
	if err != nil || location == "" || to.Scheme != "http" && to.Scheme != "https" || to.Hostname() == "" {
		return nil, fmt.Errorf("%w: the server redirects to what is no http or https URL", camera.ErrNoDevice)
	}
	to.User, to.Fragment = nil, ""
	return to, nil
}

func statusError(code int) error {
	kind := camera.ErrNoDevice
	switch {
	case code == http.StatusForbidden:
		kind = camera.ErrRefused
	case code == http.StatusServiceUnavailable, code == http.StatusTooManyRequests, code == http.StatusLocked:
		kind = camera.ErrBusy
	case code >= 500:
		kind = camera.ErrNoData
	}
	return fmt.Errorf("%w: the server answers %d %s", kind, code, http.StatusText(code))
}

// mediaType is what the server calls its answer.
func mediaType(answer *http.Response) string {
	text := answer.Header.Get("Content-Type")
	kind, _, err := mime.ParseMediaType(text)
	if err != nil { // such as a boundary with characters it must not have
		kind, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(text)), ";")
	}
	return kind
}

// mayBeJPEGs reports whether a server's answer of that type and without a JPEG is an
// accident. Otherwise it is the page of an error or a login.
func mayBeJPEGs(kind string) bool {
	return kind == "" || strings.HasPrefix(kind, "multipart/") || strings.HasPrefix(kind, "image/jp") || kind == "image/pjpeg" ||
		strings.HasPrefix(kind, "video/") || kind == "application/octet-stream"
}

// unreachable explains why a request got no answer, in an operator's words where
// it is something an operator can mend. at has no user or password.
func unreachable(at *url.URL, err error) error {
	kind, reason := camera.ErrNoDevice, ""
	var (
		dns     *net.DNSError
		timeout net.Error
		record  tls.RecordHeaderError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		op      *net.OpError
	)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		reason = "nothing listens at " + at.Host
	case errors.As(err, &dns) && dns.IsNotFound:
		reason = "there is no host " + at.Hostname()
	case errors.As(err, &op) && op.Op == "dial" && op.Timeout():
		reason = fmt.Sprintf("%s cannot be reached within %v", at.Host, dialTimeout)
	case errors.As(err, &timeout) && timeout.Timeout():
		kind, reason = camera.ErrNoData, fmt.Sprintf("%s takes the connection and does not answer within %v", at.Host, dialTimeout)
	case errors.As(err, &record):
		reason = "the server does not speak TLS: write http:// for https://"
	case errors.As(err, &unknown):
		kind, reason = camera.ErrRefused, "tls: nobody this machine trusts has signed the server's certificate; add its authority to the system's (update-ca-certificates)"
	case errors.As(err, &host):
		kind, reason = camera.ErrRefused, "tls: the server's certificate is for another name than "+at.Hostname()+
			"; if it is the camera's own, add it to the system's (update-ca-certificates)"
	case isOldTLS(err):
		kind, reason = camera.ErrRefused, "tls: the server has only old versions or ciphers, which are refused here; "+
			"update the camera's firmware, or write http:// on a network you trust"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		reason = fmt.Sprintf("%s closes the connection without an answer; does it speak %s?", at.Host, at.Scheme)
	default:
		return fmt.Errorf("%w: %w", kind, err)
	}
	return fmt.Errorf("%w: %s", kind, reason)
}
