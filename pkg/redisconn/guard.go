package redisconn

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"

	"framekeeper/internal/text"
)

// What a server may send in one reply. Its values are bounded by Limits.
const (
	maxLine     = 64 << 10 // bytes of an error or a status
	maxError    = 512      // bytes of an error that are passed on
	maxNumber   = 32       // bytes of a line with a number
	maxElements = 1 << 16
	maxDepth    = 8
	maxValue    = 1 << 40 // no server has a longer one
	longReplies = 4       // a reply has at most so many of the longest values, and slack
	slack       = 1 << 20
	maxShallow  = 1 << 20 // bytes of a value that is not at the depth of messages and images
	imageDepth  = 3       // an image stands in its entry's fields, in an entry, in a list of them
	shownBytes  = 96      // of a reply, in an error
	greetBytes  = 512
	// lastWord is how long before the end of a connection an error is its reason.
	lastWord = time.Second
)

// guard is a connection on which a server may send RESP2 within limits, and nothing
// else. go-redis makes room for whatever length or count a server names, and follows
// any depth until the stack is full. A value that is too long is drained, comes as
// an empty one and is reported: whoever may set a key or publish must not be able to
// end sessions. Everything else beyond the limits ends the connection with
// CauseProtocol.
//
// An error that was the last reply before the far side ended the connection is the
// reason for it, and is what the reader or writer gets.
//
// One goroutine reads and one writes; what a panic needs anyone may read.
type guard struct {
	net.Conn
	longest  int64                   // value that is passed on; 0: any
	deep     int                     // arrays that a value of more than maxShallow is in, at least
	tooLarge func(size, limit int64) // is called with the length of each other
	latest   func(*guard)            // is called when a reply begins
	alone    bool                    // the far side sends nothing but replies

	buf, in []byte // what has come, and the part of it that is not looked at yet
	line    []byte // that begins in, and is not whole
	out     []byte // to be read next
	failed  error  // after that
	ended   bool   // failed is for good

	rest     int64 // of the value at hand, its end of line included
	drop     bool  // the value at hand is left out
	missing  []int // elements of each array that is open
	elements int   // of the reply
	size     int64 // of its values
	greeting []byte
	greeted  bool // the first reply is over

	mu        sync.Mutex // guards all below
	head      []byte     // of the reply at hand, or else the last one
	works     bool       // a reply was no error
	lastError string     // the last reply, if that was an error
	lastAt    time.Time
}

const readAtOnce = 16 << 10

func (g *guard) Read(p []byte) (int, error) {
	for {
		switch {
		case len(g.out) > 0:
			n := copy(p, g.out)
			g.out = g.out[n:]
			return n, nil
		case len(g.in) > 0 && !g.ended:
			g.sort()
		case g.failed != nil:
			err := g.failed
			if !g.ended { // of a deadline: it may be moved on
				g.failed = nil
			}
			return 0, err
		case g.rest > 0 && !g.drop: // most of what is long
			n, err := g.Conn.Read(p[:min(int64(len(p)), g.rest)])
			g.took(int64(n))
			if errors.Is(err, errAnswer) || errors.Is(err, errAnswerFirst) {
				g.answered(err)
				err = g.failed
			}
			return n, g.explain(err)
		default:
			if g.buf == nil {
				g.buf = make([]byte, readAtOnce)
			}
			n, err := g.Conn.Read(g.buf)
			if errors.Is(err, errAnswer) || errors.Is(err, errAnswerFirst) {
				g.answered(err)
				continue
			}
			g.in, g.failed = g.buf[:n], g.explain(err)
		}
	}
}

// sort moves a part of what has come to out.
func (g *guard) sort() {
	if g.rest > 0 {
		n := min(g.rest, int64(len(g.in)))
		if !g.drop {
			g.show(g.in[:n])
			g.out = g.in[:n]
		}
		g.in = g.in[n:]
		g.took(n)
		return
	}
	n := bytes.IndexByte(g.in, '\n') + 1
	if n == 0 {
		g.line = append(g.line, g.in...)
		g.in = nil
		if what := broken(g.line); what != "" {
			g.begin(g.line[0])
			g.show(g.line)
			g.fail(what)
		}
		return
	}
	line := g.in[:n]
	g.in = g.in[n:]
	if len(g.line) > 0 {
		line = append(g.line, line...)
		g.line = line[:0]
	}
	g.begin(line[0])
	g.show(line)
	g.out = g.take(line)
	if g.ended {
		g.out = nil
	}
}

// broken is what is wrong with the beginning of a line; "": nothing yet. Whoever waits
// for the end of one that never comes does so for all of io_timeout.
func broken(line []byte) string {
	longest, end := maxLine, bytes.IndexByte(line, '\r')
	switch line[0] {
	case '+', '-':
	case ':', '$', '*':
		longest = len("$\r") + maxNumber
		if len(bytes.Trim(line[1:], "+-0123456789\r")) > 0 {
			end = 0
		}
	default:
		return "a type of reply that was not asked for"
	}
	if len(line) > longest || end >= 0 && end < len(line)-1 {
		return "a line without an end"
	}
	return ""
}

// took counts bytes of the value at hand.
func (g *guard) took(n int64) {
	if g.rest -= n; g.rest == 0 && n > 0 {
		g.drop = false
		g.element()
	}
}

// take looks at a whole line and returns what is to be passed on for it.
func (g *guard) take(line []byte) []byte {
	if len(line) < len("+\r\n") || bytes.IndexByte(line, '\r') != len(line)-2 || len(line) > maxLine {
		g.fail("a line that is none")
		return nil
	}
	switch kind, rest := line[0], line[1:len(line)-2]; kind {
	case '+':
		g.element()
	case '-':
		line = g.tell(rest)
		g.element()
	case ':':
		if _, ok := number(rest); !ok {
			g.fail("a number that is none")
		}
		g.element()
	case '$', '*':
		n, ok := number(rest)
		switch {
		case !ok || n < -1 || n > maxValue:
			g.fail("a length that is none")
		case n < 0:
			g.element()
		case kind == '$':
			return g.value(n, line)
		default:
			g.array(n)
		}
	default:
		g.fail("a type of reply that was not asked for")
	}
	return line
}

// number is a decimal number, as in a line.
func number(b []byte) (int64, bool) {
	if len(b) > maxNumber {
		return 0, false
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	return n, err == nil
}

// value begins a value of n bytes and returns its first line.
func (g *guard) value(n int64, line []byte) []byte {
	g.rest = n + int64(len("\r\n"))
	limit := g.longest
	if len(g.missing) < g.deep { // go-redis makes texts of a number that is none, several times as long
		limit = min(limit, maxShallow)
	}
	if g.drop = g.longest > 0 && n > limit; g.drop {
		g.tooLarge(n, limit)
		return []byte("$0\r\n\r\n")
	}
	if g.size += n; g.longest > 0 && g.size > longReplies*g.longest+slack {
		g.fail(fmt.Sprintf("more than %d bytes in one reply", longReplies*g.longest+slack))
	}
	return line
}

// array begins an array of n elements.
func (g *guard) array(n int64) {
	if n == 0 {
		g.element()
		return
	}
	if n > maxElements || g.elements+int(n) > maxElements {
		g.fail(fmt.Sprintf("more than %d elements in one reply", maxElements))
		return
	}
	g.elements += int(n)
	if g.missing = append(g.missing, int(n)); len(g.missing) > maxDepth {
		g.fail(fmt.Sprintf("arrays more than %d deep", maxDepth))
	}
}

// element counts an element that is whole, and what is whole with it.
func (g *guard) element() {
	for i := len(g.missing) - 1; i >= 0; i-- {
		if g.missing[i]--; g.missing[i] > 0 {
			return
		}
		g.missing = g.missing[:i]
	}
	g.elements, g.size = 0, 0
	if !g.greeted {
		g.greeted = true
		if err := unsupported(g.greeting); err != nil {
			g.failed, g.ended = wrapped(err), true
		}
		g.greeting = nil
	}
}

// answered is called when a question is answered, which was put behind all commands: their
// answers are as whole as they will ever be.
func (g *guard) answered(err error) {
	switch {
	case g.rest > 0 || len(g.missing) > 0 || len(g.line) > 0:
		g.fail("less than a whole answer")
	case errors.Is(err, errAnswerFirst):
		g.fail("no answer to a command, but one to the next; before it")
	}
}

// begin is called with each line: is it a reply's first?
func (g *guard) begin(kind byte) {
	if len(g.missing) > 0 {
		return
	}
	g.mu.Lock()
	g.head, g.lastError, g.works = g.head[:0], "", g.works || kind != '-'
	g.mu.Unlock()
	g.latest(g)
}

// show has the bytes in the error, if one comes of them.
func (g *guard) show(b []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.head = append(g.head, b[:min(len(b), shownBytes-min(len(g.head), shownBytes))]...)
	if !g.greeted {
		g.greeting = append(g.greeting, b[:min(len(b), greetBytes-len(g.greeting))]...)
	}
}

// shown are the first bytes of the last reply.
func (g *guard) shown() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return fmt.Sprintf("%q", g.head)
}

// fail ends the connection because of what the server has sent.
func (g *guard) fail(what string) {
	if !g.ended {
		g.failed, g.ended = wrapped(&CauseError{CauseProtocol, fmt.Errorf("the server has sent %s: %s", what, g.shown())}), true
	}
}

// tell notes an error and returns it as it is passed on.
func (g *guard) tell(reply []byte) []byte {
	short := text.Printable(string(reply[:min(len(reply), maxError)]), maxError)
	if len(reply) > maxError {
		short += "…"
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lastError, g.lastAt = short, time.Now()
	return []byte("-" + short + "\r\n")
}

// Write refuses a command while there is an answer that nobody asked for: it would be
// taken for this one's.
func (g *guard) Write(p []byte) (int, error) {
	if g.alone && !g.ended && len(g.in)+len(g.out) > 0 && g.rest == 0 && len(g.missing) == 0 {
		g.begin(0)
		g.show(append(g.out, g.in...))
		g.fail("an answer that nobody asked for")
		return 0, g.failed
	}
	n, err := g.Conn.Write(p)
	return n, g.explain(err)
}

// explain puts the error that a server sent right before it ended the connection in
// the place of what the end of the connection is called here: one that means the end,
// or that began a connection on which nothing else was answered.
func (g *guard) explain(err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lastError == "" || time.Since(g.lastAt) > lastWord {
		return err
	}
	cause := causeOfText(g.lastError)
	switch cause {
	case CauseClients, CauseProtected, CausePassword, CauseClosed:
	default:
		if g.works {
			return err
		}
	}
	return wrapped(&CauseError{cause, fmt.Errorf("Redis ended the connection: %s", g.lastError)}) //nolint:staticcheck // a name begins it
}

// wrapped is err in another layer: go-redis takes one off an error that its greeting
// meets.
func wrapped(err error) error { return fmt.Errorf("%w", err) }
