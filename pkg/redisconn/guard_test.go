package redisconn

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"framekeeper/internal/testkit/hostile"
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

// through is what a guard passes on, and its error.
func through(in string, pieces []byte) (out string, large []int64, err error) {
	var last lastReply
	g := &guard{
		Conn: &piecewise{left: []byte(in), pieces: pieces}, longest: 20,
		tooLarge: func(size, _ int64) { large = append(large, size) }, latest: last.Store,
	}
	b, err := io.ReadAll(g)
	return string(b), large, err
}

func TestGuardPassesOnWhatIsWithinLimits(t *testing.T) {
	message := "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n"
	for _, c := range []struct {
		name, in, want string
		large          int
	}{
		{"nothing long", "+OK\r\n:7\r\n" + bulk(20) + "$-1\r\n*-1\r\n$0\r\n\r\n-ERR $99\r\n*0\r\n", "+OK\r\n:7\r\n" + bulk(20) + "$-1\r\n*-1\r\n$0\r\n\r\n-ERR $99\r\n*0\r\n", 0},
		{"one too long", bulk(21) + "+OK\r\n", "$0\r\n\r\n+OK\r\n", 1},
		{"long ones amid others", message + bulk(5000) + message + bulk(3) + bulk(100000) + bulk(1), message + "$0\r\n\r\n" + message + bulk(3) + "$0\r\n\r\n" + bulk(1), 2},
		{"a long line that is no value", "+" + strings.Repeat("$", 500) + "\r\n" + bulk(30), "+" + strings.Repeat("$", 500) + "\r\n$0\r\n\r\n", 1},
		{"arrays in arrays", strings.Repeat("*1\r\n", maxDepth) + ":1\r\n" + strings.Repeat("*1\r\n", maxDepth) + "*0\r\n", strings.Repeat("*1\r\n", maxDepth) + ":1\r\n" + strings.Repeat("*1\r\n", maxDepth) + "*0\r\n", 0},
		{"a long array, again and again", strings.Repeat("*60000\r\n"+strings.Repeat(":1\r\n", 60000), 3), strings.Repeat("*60000\r\n"+strings.Repeat(":1\r\n", 60000), 3), 0},
		{"a long error", "-ERR \x1b[2J" + strings.Repeat("e", maxLine-100) + "\r\n+OK\r\n", "-ERR \ufffd[2J" + strings.Repeat("e", maxError-len("ERR .[2J")) + "…\r\n+OK\r\n", 0},
	} {
		for _, pieces := range [][]byte{nil, {0}, {0, 1, 2, 3}, {255}} {
			got, large, err := through(c.in, pieces)
			if err != nil || got != c.want || len(large) != c.large {
				t.Errorf("%s in pieces of %v: got %.80q, %v, %d too large, want %.80q, %d", c.name, pieces, got, err, len(large), c.want, c.large)
			}
		}
	}
}

// Each of these has go-redis take memory, panic, fill its stack or fall out of step.
func TestGuardEndsWhatIsBeyondLimits(t *testing.T) {
	for _, c := range []struct{ name, in, what string }{
		{"no length", "$x\r\n" + bulk(30), "a l"},
		{"no end of a length", "$" + strings.Repeat("9", 200), "a line without an end"},
		{"a length too long to be one", "$00000000000000000000000000000000100\r\n", "a l"},
		{"more than there can be", "$9223372036854775807\r\n+a\r\n", "a length that is none"},
		{"a negative length", "$-2\r\n", "a length that is none"},
		{"a negative count", "*-2\r\n", "a length that is none"},
		{"a long array", "*100000000\r\n", "elements in one reply"},
		{"long arrays in a long one", "*1000\r\n*60000\r\n" + strings.Repeat(":1\r\n", 60000) + "*60000\r\n", "elements in one reply"},
		{"deep arrays", strings.Repeat("*1\r\n", 1<<20), "deep"},
		{"many values", "*60000\r\n" + strings.Repeat(bulk(20), 60000), "bytes in one reply"},
		{"a line without an end", "+" + strings.Repeat("a", 1<<20), "a line without an end"},
		{"an error without an end", "-" + strings.Repeat("a", 1<<20), "a line without an end"},
		{"an error that is too long", "-ERR \x1b" + strings.Repeat("a", 1<<20) + "\r\n", "a line"},
		{"no number", ":x\r\n", "a "},
		{"a number without an end", ":" + strings.Repeat("1", 1<<20), "a line without an end"},
		{"a map", "%1\r\n+a\r\n:1\r\n", "a type of reply"},
		{"a set", "~1\r\n:1\r\n", "a type of reply"},
		{"a push", ">1\r\n+a\r\n", "a type of reply"},
		{"attributes", strings.Repeat("|0\r\n", 1<<20), "a type of reply"},
		{"a verbatim text", "=4\r\ntxt:\r\n", "a type of reply"},
		{"a long verbatim text", "=2147483647\r\n", "a type of reply"},
		{"an error of any length", "!2147483647\r\n", "a type of reply"},
		{"a large number", "(" + strings.Repeat("1", 1000) + "\r\n", "a "},
		{"nothing in a line", "\r\n\r\n", "a "},
		{"no carriage return", "+OK\n", "a line that is none"},
		{"no line feed after a number", ":1\rx", "a line without an end"},
		{"no line feed after a status", "+OK\rx", "a line without an end"},
		{"no digit", ":1x", "a line without an end"},
		{"no digit of a length", "$5\x0c", "a line without an end"},
		{"a carriage return in a status", "+O\rK\r\n", "a line "},
		{"no reply", "\xba", "a type of reply"},
		{"HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n", "a type of reply"},
		{"zeros", strings.Repeat("\x00", 1<<20), "a type of reply"},
	} {
		for _, pieces := range [][]byte{nil, {0}, {255}} {
			got, _, err := through(c.in, pieces)
			if CauseOf(err) != CauseProtocol || !strings.Contains(err.Error(), c.what) {
				t.Errorf("%s in pieces of %v: got %.40q and %.200v, want an error with %q", c.name, pieces, got, err, c.what)
			}
			if err != nil && (len(err.Error()) > 600 || strings.ContainsAny(err.Error(), "\x1b\x00\n")) {
				t.Errorf("%s: the error is not fit to be printed: %d bytes, %.700q", c.name, len(err.Error()), err)
			}
		}
	}
}

// Only a message, or an image in its entry, is long: where go-redis expects a number it
// makes texts of what there is instead, each several times as long.
func TestLongValuesStandWhereImagesDo(t *testing.T) {
	long, short := bulk(maxShallow+1), bulk(maxShallow)
	for _, c := range []struct {
		name, in string
		deep     int
		passes   bool
	}{
		{"an answer", long, imageDepth, false},
		{"a shorter one", short, imageDepth, true},
		{"an element of it", "*2\r\n*2\r\n:1\r\n" + long + ":1\r\n", imageDepth, false},
		{"an image in XRANGE", "*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$5\r\nimage\r\n" + long, imageDepth, true},
		{"an image in XREAD", "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$5\r\nimage\r\n" + long, imageDepth, true},
		{"a message", "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n" + long, 1, true},
		{"no message", long, 1, false},
	} {
		var last lastReply
		dropped := 0
		g := &guard{
			Conn: &piecewise{left: []byte(c.in)}, longest: 2 * maxShallow, deep: c.deep, latest: last.Store,
			tooLarge: func(_, limit int64) {
				if dropped++; limit != maxShallow {
					t.Errorf("%s: limit %d", c.name, limit)
				}
			},
		}
		got, err := io.ReadAll(g)
		if err != nil || (len(got) == len(c.in)) != c.passes || (dropped == 0) != c.passes {
			t.Errorf("%s: %d bytes of %d came, %d left out, %v", c.name, len(got), len(c.in), dropped, err)
		}
	}
}

// What a server answers to PUBLISH is a number, or costs no memory.
func TestALongNumberCostsNoMemory(t *testing.T) {
	needRedis(t)
	middle := hostile.Start(t, redistest.Start(t).Addr())
	middle.Answer("publish", hostile.LargeValue(32<<20).Bytes)
	cfg := at(middle.URL())
	cfg.IOTimeout = patient
	target := mustOpen(t, cfg)
	target.Limit(Limits{Reply: 48 << 20})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := clientOf(t, target, Data).Publish(t.Context(), "a", "b").Err()
	runtime.ReadMemStats(&after)
	if took := (after.TotalAlloc - before.TotalAlloc) >> 20; err == nil || len(err.Error()) > 1000 || took > 64+8 { // the middle's 64
		t.Errorf("an answer of 32 MiB took %d MiB: %.200v", took, err)
	}
}

func TestGuardTakesNoAnswerForAnother(t *testing.T) {
	for _, alone := range []bool{true, false} {
		var last lastReply
		near, far := net.Pipe()
		g := &guard{Conn: near, alone: alone, latest: last.Store}
		go func() {
			_, _ = io.WriteString(far, "+OK\r\n+NOT ASKED\r\n") // a pipe's end is there until the test's
			_, _ = io.Copy(io.Discard, far)
		}()
		if n, err := g.Read(make([]byte, 100)); n != len("+OK\r\n") || err != nil {
			t.Fatalf("read %d bytes, %v", n, err)
		}
		_, err := g.Write([]byte("*1\r\n$4\r\nPING\r\n"))
		if refused := CauseOf(err) == CauseProtocol && strings.Contains(err.Error(), "NOT ASKED"); refused != alone {
			t.Errorf("alone %v: got %v", alone, err)
		}
		_, _ = near.Close(), far.Close()
	}
}

// However it comes in, the same goes out, and never more than has come.
func FuzzGuard(f *testing.F) {
	f.Add("*2\r\n$30\r\n"+strings.Repeat("x", 30)+"\r\n$1\r\na\r\n", []byte{0, 3})
	f.Add("$9\r\n", []byte{1})
	f.Add("-ERR x\r\n*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n", []byte{2})
	f.Fuzz(func(t *testing.T, in string, pieces []byte) {
		whole, _, err := through(in, nil)
		if len(whole) > 3*len(in)+len("$0\r\n\r\n") { // an error's bytes may each become a replacement character
			t.Errorf("got %d bytes of %d, %v", len(whole), len(in), err)
		}
		parts, _, partsErr := through(in, pieces)
		if parts != whole || (err == nil) != (partsErr == nil) {
			t.Errorf("in pieces of %v: got %q, %v, want %q, %v", pieces, parts, partsErr, whole, err)
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
	target.Limit(Limits{Message: 1 << 20, Reply: 1 << 20})
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
