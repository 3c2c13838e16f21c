package agentapi

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// shown is a Pictures and a Requests that answers what a test says.
type shown struct {
	picture func(Query) (*Picture, error)
	request func(request []byte, accept string) (*Answer, error)
}

func (s shown) Picture(_ context.Context, q Query) (*Picture, error) { return s.picture(q) }

func (s shown) Request(_ context.Context, r []byte, accept string) (*Answer, error) {
	return s.request(r, accept)
}

// serveShown runs a server until the test ends.
func serveShown(t *testing.T, s *Server, what shown) {
	t.Helper()
	s.HandlePictures(what)
	s.HandleRequests(what)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	}))
}

func TestPictureOverTheSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	s, err := Listen(t.Context(), path, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	want := Picture{JPEG: []byte("image"), Width: 320, Height: 180, Tag: "7-9", FrameID: "7-e9", Captured: 1700000000000042, Age: 1234 * time.Millisecond}
	serveShown(t, s, shown{picture: func(q Query) (*Picture, error) {
		switch {
		case q.After == want.Tag:
			return nil, ErrNoNewer
		case q.Width == 1:
			return nil, &Unavailable{"camera stalled: no light"}
		case q.Stale:
			old := want
			old.Stale = "the newest exposure is “9 s” old\n"
			return &old, nil
		}
		return &want, nil
	}})
	c := Client{Path: path}
	if got, err := c.Picture(t.Context(), Query{Width: 320, Wait: time.Second}); err != nil || string(got.JPEG) != "image" {
		t.Fatalf("got %+v, %v", got, err)
	} else if got.JPEG = want.JPEG; got.Tag != want.Tag || got.Captured != want.Captured || got.Age != want.Age || got.FrameID != want.FrameID || got.Height != 180 || got.Stale != "" {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, err := c.Picture(t.Context(), Query{Stale: true}); err != nil || got.Stale != "the newest exposure is “9 s” old\n" {
		t.Errorf("stale: got %+v, %v", got, err)
	}
	if _, err := c.Picture(t.Context(), Query{After: "7-9"}); !errors.Is(err, ErrNoNewer) {
		t.Errorf("after the newest: got %v", err)
	}
	var un *Unavailable
	if _, err := c.Picture(t.Context(), Query{Width: 1}); !errors.As(err, &un) || un.Reason != "camera stalled: no light" {
		t.Errorf("unavailable: got %v", err)
	}
	for _, query := range []string{"w=-1", "w=x", "w=99999", "stale=2", "wait_ms=60000"} {
		if _, err := c.Get(t.Context(), "/picture?"+query, 1<<20); err == nil || !strings.Contains(err.Error(), "expected 0 to") {
			t.Errorf("%s: got %v", query, err)
		}
	}
}

// An agent that hangs costs whoever asks 300 ms. One that works, but slowly, has
// time.
func TestAHungAgentCostsLittle(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "hung.sock")) // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	began := time.Now()
	_, err = Client{Path: filepath.Join(dir, "hung.sock")}.Picture(t.Context(), Query{Wait: 5 * time.Second})
	if took := time.Since(began); !errors.Is(err, ErrNoAgent) || took < Patience || took > 4*time.Second {
		t.Errorf("got %v after %v, want that nobody answers after %v", err, took, Patience)
	}
	if _, err := (Client{Path: filepath.Join(dir, "none.sock")}).Request(t.Context(), nil, ""); !errors.Is(err, ErrNoAgent) {
		t.Errorf("without an agent: got %v", err)
	}
	s, err := Listen(t.Context(), filepath.Join(dir, "slow.sock"), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	slow := make(chan struct{})
	serveShown(t, s, shown{
		picture: func(Query) (*Picture, error) { <-slow; return &Picture{Tag: "1-1"}, nil },
		request: func([]byte, string) (*Answer, error) {
			<-slow
			return &Answer{Header: []byte(`{"error":"dark"}`)}, &Unavailable{"dark"}
		},
	})
	time.AfterFunc(2*Patience, func() { close(slow) })
	c := Client{Path: filepath.Join(dir, "slow.sock")}
	asked := make(chan error, 1)
	go func() {
		a, err := c.Request(t.Context(), []byte("{}"), "")
		if a == nil || string(a.Header) != `{"error":"dark"}` {
			err = errors.New("the error reply has no header")
		}
		asked <- err
	}()
	if p, err := c.Picture(t.Context(), Query{}); err != nil || p.Tag != "1-1" {
		t.Errorf("of a slow agent: got %+v, %v", p, err)
	}
	var un *Unavailable
	if err := <-asked; !errors.As(err, &un) || un.Reason != "dark" {
		t.Errorf("the answer of a slow agent: got %v", err)
	}
}

func TestRefusalsKeepTheirCode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	s, err := Listen(t.Context(), path, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	serveShown(t, s, shown{request: func(r []byte, accept string) (*Answer, error) {
		if accept != "image/png" {
			return nil, &Refused{http.StatusTooManyRequests, "too many"}
		}
		return &Answer{Header: ASCII([]byte(`{"lot":"Größe 😀"}`)), ContentType: "image/png", Image: r}, nil
	}})
	_, err = Client{Path: path}.Request(t.Context(), []byte(`{}`), "")
	var refused *Refused
	if !errors.As(err, &refused) || refused.Code != http.StatusTooManyRequests || refused.Reason != "too many" {
		t.Errorf("got %v", err)
	}
	a, err := Client{Path: path}.Request(t.Context(), []byte(`{"a":1}`), "image/png")
	if err != nil || string(a.Header) != `{"lot":"Gr\u00f6\u00dfe \ud83d\ude00"}` || string(a.Image) != `{"a":1}` || a.ContentType != "image/png" {
		t.Errorf("got %+v, %v", a, err)
	}
}

// A socket that was inherited serves its own user, whatever its name lets in.
func TestInherit(t *testing.T) {
	l, err := net.Listen("unix", "@framekeeper/test/"+t.Name()+"/"+filepath.Base(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	s, err := Inherit(strconv.Itoa(fd), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	serveShown(t, s, shown{picture: func(Query) (*Picture, error) { return &Picture{Tag: "1-1"}, nil }})
	if _, err := (Client{Path: l.Addr().String()}).Picture(t.Context(), Query{}); err != nil {
		t.Errorf("the own user: got %v", err)
	}
	for _, value := range []string{"", "x", "2", "64999"} {
		if s, err := Inherit(value, zerolog.Nop()); err == nil {
			_ = s.Close()
			t.Errorf("%q: got no error", value)
		}
	}
}

func TestOtherUsersAreRefused(t *testing.T) {
	l, err := net.Listen("unix", "@framekeeper/test/"+t.Name()+"/"+filepath.Base(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	guarded := ownUser{l, -1} // root is let in, and nobody else
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		if conn, err := guarded.Accept(); err == nil {
			_ = conn.Close()
		}
	}()
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	uid, err := peer(conn)
	if err != nil || uid != unix.Getuid() {
		t.Errorf("the peer is user %d (%v), want %d", uid, err, unix.Getuid())
	}
	if uid != 0 {
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("another user was not hung up on: %v", err)
		}
	}
	_ = l.Close()
	<-accepted
}
