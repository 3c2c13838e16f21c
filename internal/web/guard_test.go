package web

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"framekeeper/internal/testkit/redistest"
)

// Whoever opens connections without end, and leaves them open, does not keep the
// next visitor out: the one that has asked for nothing for the longest has to go.
func TestTooManyVisitors(t *testing.T) {
	base := serve(t, Config{Report: good})
	var held []net.Conn
	for range maxVisitors {
		conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if len(held) == 0 { // has had an answer, and stays
			if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
		}
		held = append(held, conn)
	}
	if resp, _ := get(t, "GET", base+"/", "", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("one too many: got %d, want the page", resp.StatusCode)
	}
	gone := make(chan struct{}, maxVisitors)
	for _, conn := range held {
		go func() {
			_, _ = conn.Read(make([]byte, 1)) // nothing comes but the end
			gone <- struct{}{}
		}()
	}
	select {
	case <-gone:
	case <-time.After(3 * time.Second):
		t.Error("nobody had to go for it")
	}
}

// pretended is a connection that only knows whether it was closed.
type pretended struct {
	net.Conn
	closed bool
}

func (p *pretended) Close() error { p.closed = true; return nil }

// Nobody who is being answered is cut off for another.
func TestTooManyVisitorsInHand(t *testing.T) {
	v := newVisitors()
	come := func() *pretended {
		p := &pretended{}
		v.limit(p, http.StateNew)
		return p
	}
	var all []*pretended
	for range maxVisitors {
		p := come()
		v.limit(p, http.StateActive)
		all = append(all, p)
	}
	surplus := come()
	v.limit(surplus, http.StateClosed)
	if !surplus.closed {
		t.Error("one too many is not closed while all others are being answered")
	}
	v.limit(all[7], http.StateIdle)
	v.limit(all[5], http.StateIdle)
	if next := come(); next.closed || !all[7].closed || all[5].closed {
		t.Error("the next one does not take the place of the one that waits for the longest")
	}
	v.limit(all[5], http.StateActive)
	v.limit(all[7], http.StateActive) // its request had just come
	v.limit(all[7], http.StateClosed)
	v.limit(all[3], http.StateHijacked)
	come()
	if len(v.waiting) != maxVisitors {
		t.Errorf("got %d visitors, want %d", len(v.waiting), maxVisitors)
	}
	for i, p := range all {
		if p.closed != (i == 7) {
			t.Errorf("visitor %d, who is being answered: closed %v", i, p.closed)
		}
	}
}

// talker is a connection that notes whether something is written to it.
type talker struct {
	net.Conn
	said, closed bool
}

func (c *talker) Write(b []byte) (int, error) { c.said = true; return c.Conn.Write(b) }
func (c *talker) Close() error                { c.closed = true; return c.Conn.Close() }

// A visitor who has to go gets no farewell of TLS: one who does not read would hold
// up all others with it.
func TestTooManyVisitorsOverTLS(t *testing.T) {
	own := redistest.NewTLSFiles(t)
	pair, err := tls.LoadX509KeyPair(own.ServerCert, own.ServerKey)
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	defer far.Close()
	below := &talker{Conn: near}
	met := make(chan error, 1)
	go func() {
		met <- tls.Client(far, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}).HandshakeContext(t.Context())
	}()
	first := tls.Server(below, &tls.Config{Certificates: []tls.Certificate{pair}})
	if err := errors.Join(first.HandshakeContext(t.Context()), <-met); err != nil {
		t.Fatal(err)
	}
	below.said = false
	v := newVisitors()
	v.limit(first, http.StateNew)
	for range maxVisitors {
		v.limit(&pretended{}, http.StateNew)
	}
	if !below.closed || below.said {
		t.Errorf("the first visitor: closed %v, something written %v", below.closed, below.said)
	}
}
