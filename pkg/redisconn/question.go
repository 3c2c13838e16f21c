package redisconn

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// questioned is a connection on which a question can be put behind a command whose
// answer is long in coming. Redis answers in order, so that the question's answer proves
// that all others were sent before it: one that has not arrived then never will, and
// nothing else is to be believed of this connection. As long as Redis works on the
// command, waits for a BLOCK to be over, or is still receiving it, there is no answer
// to the question either: being slow is never taken for a loss.
//
// The question is ECHO with a word that nobody can guess, so that no value in Redis
// looks like its answer. There is one on its way at most.
type questioned struct {
	net.Conn       // with TLS
	under    *conn // without

	mu       sync.Mutex // guards all below, and is held while a command is written
	waits    time.Time  // since when a read waits; zero: none does
	answer   []byte     // what comes for the question that is on its way; nil: none is
	followed bool       // by a command: everything asked for before it had come
	in       []byte     // has come, and may be the answer or have it in it
}

// These errors stand in the place of an answer to a question.
var (
	errAnswer      = errors.New("the answer to a question")
	errAnswerFirst = errors.New("the answer to a question, and not to the command before it")
)

// ask puts the question if a read has waited for so long and everything that was
// written has arrived. It does not wait.
func (q *questioned) ask(waited time.Duration) {
	if !q.mu.TryLock() { // a command is being written
		return
	}
	defer q.mu.Unlock()
	sent, ok := queueOf(q.under.Conn) // no unix socket loses anything
	if !ok || sent.unacked > 0 || q.answer != nil || q.waits.IsZero() || time.Since(q.waits) < waited {
		return
	}
	word := rand.Text()
	q.answer, q.followed = fmt.Appendf(nil, "$%d\r\n%s\r\n", len(word), word), false
	err := q.SetWriteDeadline(time.Now().Add(time.Second)) // nothing is before it in the queue
	if err == nil {
		_, err = fmt.Fprintf(q.Conn, "*2\r\n$4\r\nECHO\r\n%s", q.answer)
	}
	if err != nil {
		_ = q.Close()
		return
	}
	if sent, ok = queueOf(q.under.Conn); ok { // that it arrives is no progress of the command
		q.under.acked.Store(sent.acked + uint64(sent.unacked)) //nolint:gosec // not negative
	}
}

func (q *questioned) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.followed = true
	return q.Conn.Write(p)
}

// Read leaves answers to questions out and returns an error in the place of each.
func (q *questioned) Read(p []byte) (int, error) {
	for {
		if n, err := q.next(p); n > 0 || err != nil {
			return n, err
		}
		n, err := q.Conn.Read(p)
		if q.arrived(p[:n]) || n == 0 {
			return n, err
		}
	}
}

// next is what can be passed on of what has come: bytes, or the answer. If there is
// nothing, a read begins to wait.
func (q *questioned) next(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.in)
	if q.answer != nil {
		n = beginning(q.in, q.answer)
	}
	switch {
	case n > 0:
		n = copy(p, q.in[:n])
		q.in = q.in[n:]
		return n, nil
	case q.answer == nil, len(q.in) < len(q.answer):
		q.waits = time.Now()
		return 0, nil
	}
	q.in, q.answer = q.in[len(q.answer):], nil
	if q.followed {
		return 0, errAnswer
	}
	return 0, errAnswerFirst
}

// arrived reports whether bytes that have come can be passed on as they are.
func (q *questioned) arrived(b []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waits = time.Time{}
	if q.answer == nil {
		return true
	}
	q.in = append(q.in, b...)
	return false
}

// beginning is where in b the answer begins, or may begin if b goes on; len(b): nowhere.
func beginning(b, answer []byte) int {
	if i := bytes.Index(b, answer); i >= 0 {
		return i
	}
	for i := max(len(b)-len(answer)+1, 0); i < len(b); i++ {
		if bytes.HasPrefix(answer, b[i:]) {
			return i
		}
	}
	return len(b)
}
