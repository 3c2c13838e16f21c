package logging

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	writePatience = 100 * time.Millisecond // how long a line may take before nobody waits for lines any more
	closePatience = time.Second
	queueLines    = 1000 // what waits meanwhile
	queueBytes    = 1 << 20
)

// nonBlocking is a writer that never holds up whoever logs: a pipe nobody reads, a
// stopped terminal or a hung disk would otherwise stop every goroutine at its
// next line, the link to Redis first. Each line is waited for, so that it is
// out when Write returns; once one takes too long, lines wait in a queue, and
// what finds no room there is counted and reported when lines pass again.
type nonBlocking struct {
	out    io.Writer
	report func(lost uint64) // writes to out; set before the first line
	queue  chan line
	done   chan struct{} // closed when the last line is out

	behind atomic.Bool // lines are not waited for
	lost   atomic.Uint64
	size   atomic.Int64 // bytes in the queue

	mu     sync.Mutex // guards closed, and the order of lines
	closed bool
}

type line struct {
	text    []byte
	written chan struct{} // closed when it is out
}

func newNonBlocking(out io.Writer, report func(lost uint64)) *nonBlocking {
	s := &nonBlocking{out: out, report: report, queue: make(chan line, queueLines), done: make(chan struct{})}
	go s.drain() // Close waits for it, unless it hangs
	return s
}

// Write never fails: there is nobody to report to.
func (s *nonBlocking) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return len(p), nil
	}
	l := line{bytes.Clone(p), make(chan struct{})}
	if s.behind.Load() && s.size.Load()+int64(len(p)) > queueBytes {
		s.lost.Add(1)
		return len(p), nil
	}
	select {
	case s.queue <- l:
		s.size.Add(int64(len(p)))
	default:
		s.lost.Add(1)
		return len(p), nil
	}
	if s.behind.Load() {
		return len(p), nil
	}
	timer := time.NewTimer(writePatience)
	defer timer.Stop()
	select {
	case <-l.written:
	case <-timer.C:
		s.behind.Store(true)
	}
	return len(p), nil
}

func (s *nonBlocking) drain() {
	defer close(s.done)
	for l := range s.queue {
		_, _ = s.out.Write(l.text)
		s.size.Add(-int64(len(l.text)))
		close(l.written)
		if len(s.queue) > 0 {
			continue
		}
		s.behind.Store(false)
		if lost := s.lost.Swap(0); lost > 0 {
			s.report(lost)
		}
	}
}

// Close waits for the last line, but not for ever; all says whether it is out.
func (s *nonBlocking) Close() (all bool) {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.queue)
	}
	s.mu.Unlock()
	timer := time.NewTimer(closePatience)
	defer timer.Stop()
	select {
	case <-s.done:
		return true
	case <-timer.C:
		return false
	}
}

// Lines makes a writer for the lines of others, each Write a whole one, that
// never holds up whoever writes: what w does not take in time is left out, and
// reported once w takes lines again. Close waits for the last line, but not for ever.
func Lines(w io.Writer, report func(lost uint64)) io.WriteCloser {
	return lines{newNonBlocking(w, report)}
}

type lines struct{ *nonBlocking }

func (l lines) Close() error {
	l.nonBlocking.Close() // nobody is left to report lost lines to
	return nil
}

// closer ends a logger.
type closer struct {
	lines *nonBlocking
	file  io.Closer
}

func (c *closer) Close() error {
	if !c.lines.Close() {
		return nil // closing the file would hang as well
	}
	return c.file.Close()
}

// Say writes a program's last words to w, but does not wait for ever: a pipe
// that nobody reads must not keep a process from ending.
func Say(w io.Writer, text string) {
	s := newNonBlocking(w, func(uint64) {})
	_, _ = s.Write([]byte(text + "\n"))
	s.Close()
}
