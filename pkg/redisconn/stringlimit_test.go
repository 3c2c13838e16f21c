package redisconn

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"framekeeper/internal/testkit/redistest"
)

// piecewise is a connection that gives what it has in pieces of the given sizes.
type piecewise struct {
	net.Conn
	left   []byte
	pieces []byte // sizes, again and again
	next   int
}

func (c *piecewise) Read(p []byte) (int, error) {
	if len(c.left) == 0 {
		return 0, io.EOF
	}
	n := len(p)
	if len(c.pieces) > 0 {
		n = min(n, int(c.pieces[c.next%len(c.pieces)])+1)
		c.next++
	}
	n = copy(p[:n], c.left)
	c.left = c.left[n:]
	return n, nil
}

func bulk(n int) string { return fmt.Sprintf("$%d\r\n%s\r\n", n, strings.Repeat("\n$", n/2+1)[:n]) }

func TestLimitStrings(t *testing.T) {
	message := "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n"
	for _, c := range []struct{ name, in, want string }{
		{"nothing long", "+OK\r\n:7\r\n" + bulk(20) + "$-1\r\n$0\r\n\r\n*0\r\n-ERR $99\r\n", "+OK\r\n:7\r\n" + bulk(20) + "$-1\r\n$0\r\n\r\n*0\r\n-ERR $99\r\n"},
		{"one too long", bulk(21) + "+OK\r\n", "$0\r\n\r\n+OK\r\n"},
		{"long ones amid others", message + bulk(5000) + message + bulk(3) + bulk(100000) + bulk(1), message + "$0\r\n\r\n" + message + bulk(3) + "$0\r\n\r\n" + bulk(1)},
		{"a long line that is none", "+" + strings.Repeat("$", 500) + "\r\n" + bulk(30), "+" + strings.Repeat("$", 500) + "\r\n$0\r\n\r\n"},
		{"no length", "$x\r\n" + bulk(30), "$x\r\n$0\r\n\r\n"},
		{"no end of a length", "$" + strings.Repeat("9", 200), "$" + strings.Repeat("9", 200)},
		{"a length too long to be one", "$00000000000000000000000000000100\n", "$00000000000000000000000000000100\n"},
		{"more than there can be", "$9223372036854775807\r\n+a\r\n", "$9223372036854775807\r\n+a\r\n"},
	} {
		for _, pieces := range [][]byte{nil, {0}, {0, 1, 2, 3}, {255}} {
			s := &stringLimiter{Conn: &piecewise{left: []byte(c.in), pieces: pieces}, longest: 20}
			if got, err := io.ReadAll(s); err != nil || string(got) != c.want {
				t.Errorf("%s in pieces of %v: got %.80q, %v, want %.80q", c.name, pieces, got, err, c.want)
			}
		}
	}
}

// However it comes in, the same goes out, and never more than has come.
func FuzzLimitStrings(f *testing.F) {
	f.Add([]byte("*2\r\n$30\r\n"+strings.Repeat("x", 30)+"\r\n$1\r\na\r\n"), []byte{0, 3})
	f.Add([]byte("$9\r\n"), []byte{1})
	f.Fuzz(func(t *testing.T, in, pieces []byte) {
		whole, err := io.ReadAll(&stringLimiter{Conn: &piecewise{left: in}, longest: 20})
		if err != nil || len(whole) > len(in)+len("$0\r\n\r\n") {
			t.Errorf("got %d bytes of %d, %v", len(whole), len(in), err)
		}
		parts, err := io.ReadAll(&stringLimiter{Conn: &piecewise{left: bytes.Clone(in), pieces: pieces}, longest: 20})
		if err != nil || !bytes.Equal(parts, whole) {
			t.Errorf("in pieces of %v: got %q, %v, want %q", pieces, parts, err, whole)
		}
	})
}

// Whoever may write a key or publish must not be able to take a box's memory.
func TestALongAnswerCostsNoMemory(t *testing.T) {
	needRedis(t)
	server := redistest.Start(t)
	const long = 64 << 20
	ctx := context.Background()
	server.Client().Set(ctx, "long", strings.Repeat("x", long), 0)
	server.Client().Set(ctx, "short", "y", 0)
	cfg := at(server.URL())
	cfg.IOTimeout = patient
	target := mustOpen(t, cfg)
	target.LimitStrings(Data, 1<<20)
	target.LimitStrings(Control, 1<<20)
	c := clientOf(t, target, Data)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 5 {
		if got, err := c.Get(ctx, "long").Result(); got != "" || err != nil {
			t.Fatalf("a long value: got %d bytes, %v, want an empty one", len(got), err)
		}
		if got, err := c.Get(ctx, "short").Result(); got != "y" || err != nil {
			t.Fatalf("the next: got %.20q, %v", got, err)
		}
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > long {
		t.Errorf("five long values took %d bytes of memory", took)
	}

	ps := clientOf(t, target, Control).Subscribe(ctx, "a")
	defer func() { _ = ps.Close() }()
	for _, want := range []string{"", "short"} {
		if want == "" {
			if _, err := ps.Receive(ctx); err != nil { // the confirmation
				t.Fatal(err)
			}
			server.Client().Publish(ctx, "a", strings.Repeat("x", 2<<20))
			server.Client().Publish(ctx, "a", "short")
		}
		m, err := ps.ReceiveMessage(ctx)
		if err != nil || m.Payload != want {
			t.Errorf("got %v, %v, want %q", m, err, want)
		}
	}
}
