package redistest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// peers is a connection through a proxy, seen from both ends.
type peers struct {
	proxy          *Proxy
	client, server net.Conn
}

// connect makes a connection through a proxy to a listener of the test's own.
func connect(t *testing.T, before ...func(*Proxy)) peers {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	p := peers{proxy: NewProxy(t, l.Addr().String())}
	for _, f := range before {
		f(p.proxy)
	}
	if p.client, err = net.Dial("tcp", p.proxy.Addr()); err != nil {
		t.Fatal(err)
	}
	if p.server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.client.Close(); _ = p.server.Close() })
	if err := await(patient, func() error {
		if p.proxy.Open() != 1 {
			return errors.New("the proxy has not joined the two yet")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return p
}

func write(t *testing.T, c net.Conn, data []byte) {
	t.Helper()
	if _, err := c.Write(data); err != nil {
		t.Fatalf("write: %v", err)
	}
}

// arrives checks that c delivers want within d, and how long that took.
func arrives(t *testing.T, c net.Conn, want string, d time.Duration) time.Duration {
	t.Helper()
	begun := time.Now()
	_ = c.SetReadDeadline(begun.Add(d))
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("read: got %q, %v, want %q", got[:n], err, want)
	}
	return time.Since(begun)
}

// silent checks that c delivers nothing for d.
func silent(t *testing.T, c net.Conn, d time.Duration) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(d))
	n, err := c.Read(make([]byte, 1))
	var timeout net.Error
	if n != 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("read: got %d bytes, %v, want silence", n, err)
	}
}

// ended checks that c is closed within patient, and returns what came before.
func ended(t *testing.T, c net.Conn) []byte {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patient))
	got, err := io.ReadAll(c)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatalf("the connection is still open")
	}
	return got
}

func TestProxyPassesAndCounts(t *testing.T) {
	t.Parallel()
	p := connect(t)
	write(t, p.client, []byte("request"))
	arrives(t, p.server, "request", patient)
	write(t, p.server, []byte("reply"))
	arrives(t, p.client, "reply", patient)
	up, down, both := p.proxy.Bytes(ToServer), p.proxy.Bytes(ToClient), p.proxy.Bytes(Both)
	if up != 7 || down != 5 || both != 12 || p.proxy.Accepted() != 1 || p.proxy.Open() != 1 {
		t.Errorf("counted %d up, %d down, %d both, %d accepted, %d open; want 7, 5, 12, 1, 1",
			up, down, both, p.proxy.Accepted(), p.proxy.Open())
	}
	// One side's end reaches the other while its own direction goes on.
	if err := p.client.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	ended(t, p.server)
	write(t, p.server, []byte("late"))
	arrives(t, p.client, "late", patient)
}

func TestProxyLargeRedisPayload(t *testing.T) {
	t.Parallel()
	s := Start(t)
	p := NewProxy(t, s.Addr())
	o := s.ClientOptions()
	o.Addr = p.Addr()
	c := redis.NewClient(o)
	defer c.Close()
	image := bytes.Repeat([]byte("0123456789abcdef"), 170_000)
	if err := c.Set(t.Context(), "image", image, 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Get(t.Context(), "image").Bytes(); err != nil || !bytes.Equal(got, image) {
		t.Errorf("2.7 MB through the proxy: got %d bytes back, %v, want the %d sent", len(got), err, len(image))
	}
	if n := p.Bytes(ToServer); n < int64(len(image)) {
		t.Errorf("%d bytes counted to the server, want at least %d", n, len(image))
	}
}

func TestProxyCut(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(*Proxy){"CutAll": (*Proxy).CutAll, "ResetAll": (*Proxy).ResetAll} {
		p := connect(t)
		cut(p.proxy)
		_ = p.client.SetReadDeadline(time.Now().Add(patient))
		_, err := p.client.Read(make([]byte, 1))
		if want := map[string]error{"CutAll": io.EOF, "ResetAll": syscall.ECONNRESET}[name]; !errors.Is(err, want) {
			t.Errorf("%s: client reads %v, want %v", name, err, want)
		}
		ended(t, p.server)
	}
}

func TestProxyRefusesAndAccepts(t *testing.T) {
	t.Parallel()
	p := connect(t)
	p.proxy.Refuse()
	if _, err := net.Dial("tcp", p.proxy.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial: got %v, want connection refused", err)
	}
	write(t, p.client, []byte("x"))
	arrives(t, p.server, "x", patient)
	p.proxy.Accept()
	c, err := net.Dial("tcp", p.proxy.Addr())
	if err != nil {
		t.Fatalf("dial after Accept: %v", err)
	}
	_ = c.Close()
}

func TestProxyWithoutTarget(t *testing.T) {
	t.Parallel()
	s := Start(t)
	p := NewProxy(t, s.Addr())
	s.Kill()
	c, err := net.Dial("tcp", p.Addr())
	if err == nil { // the reset may be as quick as the dial
		defer c.Close()
		_ = c.SetReadDeadline(time.Now().Add(patient))
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("connect with the target down: got %v, want a reset", err)
	}
}
