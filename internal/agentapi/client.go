package agentapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"syscall"

	"framekeeper/pkg/frame"
)

// ErrNoAgent means that nobody serves the socket, or not in time.
var ErrNoAgent = errors.New("no agent answers")

// Client calls the agent behind one socket. Any goroutine may use it.
type Client struct{ Path string }

// where is it for a message: nobody finds a socket without a file.
func (c Client) where() string {
	if strings.HasPrefix(c.Path, "@") {
		return ""
	}
	return " at " + c.Path
}

// Get reads what the agent serves at url, such as "/settings", up to limit bytes.
func (c Client) Get(ctx context.Context, url string, limit int64) ([]byte, error) {
	return c.do(ctx, http.MethodGet, url, nil, limit)
}

// Set changes settings, and returns all as they are then.
func (c Client) Set(ctx context.Context, s Settings) (Settings, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return Settings{}, fmt.Errorf("encode settings: %w", err)
	}
	b, err := c.do(ctx, http.MethodPost, "/settings", body, maxBody)
	if err != nil {
		return Settings{}, err
	}
	return readSettings(bytes.NewReader(b))
}

func (c Client) do(ctx context.Context, method, url string, body []byte, limit int64) ([]byte, error) {
	resp, err := c.roundTrip(ctx, call{method: method, url: url, body: body})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("ask agent%s: %w", c.where(), err)
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("ask agent%s: the answer has more than %d bytes", c.where(), limit)
	case resp.StatusCode == http.StatusOK:
		return b, nil
	}
	var f failure
	if frame.Decode(b, &f) == nil && f.Error != "" {
		return nil, errors.New(f.Error)
	}
	return nil, fmt.Errorf("ask agent%s for %s: %s", c.where(), url, resp.Status)
}

// call is what an agent is asked.
type call struct {
	method, url string
	body        []byte
	accept      string // "": anything
}

// roundTrip makes one call. Its caller closes the body.
func (c Client) roundTrip(ctx context.Context, ask call) (*http.Response, error) {
	var connected, answered atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:              func(httptrace.GotConnInfo) { connected.Store(true) },
		GotFirstResponseByte: func() { answered.Store(true) },
	})
	req, err := http.NewRequestWithContext(ctx, ask.method, "http://agent"+ask.url, bytes.NewReader(ask.body))
	if err != nil {
		return nil, fmt.Errorf("ask agent: %w", err)
	}
	if ask.accept != "" {
		req.Header.Set("Accept", ask.accept)
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: c.dial} // one call, one connection, nothing left
	resp, err := transport.RoundTrip(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w%s", ErrNoAgent, c.where())
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.EAGAIN): // EAGAIN: as many wait for it as can
		return nil, fmt.Errorf("%w in time%s", ErrNoAgent, c.where())
	case err != nil && ctx.Err() == nil && connected.Load() && !answered.Load():
		return nil, fmt.Errorf("%w%s, it ended meanwhile", ErrNoAgent, c.where())
	case err != nil:
		return nil, fmt.Errorf("ask agent%s: %w", c.where(), err)
	}
	return resp, nil
}

func (c Client) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	name, release, err := shortName(c.Path)
	if err != nil {
		return nil, err
	}
	defer release()
	var d net.Dialer
	return d.DialContext(ctx, "unix", name)
}
