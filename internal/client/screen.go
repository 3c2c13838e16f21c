package client

import (
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// screen is where "client run" shows its live line. On a terminal the line is
// rewritten in place and log lines appear above it; elsewhere it is one plain
// line after the other.
type screen struct {
	terminal *os.File // nil: stdout is none
	out      io.Writer
	err      io.Writer
	shared   bool // log lines go to a terminal too, most likely the same one

	mu   sync.Mutex // guards line, and the order of writes
	line string
}

func newScreen(stdout, stderr io.Writer) *screen {
	s := &screen{out: stdout, err: stderr}
	if f, ok := stdout.(*os.File); ok && isTerminal(f) {
		s.terminal = f
		e, ok := stderr.(*os.File)
		s.shared = ok && isTerminal(e)
	}
	return s
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// InPlace reports whether the line can be rewritten, and so should be often.
func (s *screen) InPlace() bool { return s.terminal != nil }

const eraseLine = "\r\x1b[K"

// Show replaces the live line. What cannot be written is nobody's loss.
func (s *screen) Show(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.InPlace() {
		_, _ = fmt.Fprintln(s.out, line)
		return
	}
	s.line = s.clip(line)
	_, _ = fmt.Fprint(s.out, eraseLine+s.line)
}

// clip cuts the line to the terminal's width: one that wraps cannot be rewritten.
func (s *screen) clip(line string) string {
	size, err := unix.IoctlGetWinsize(int(s.terminal.Fd()), unix.TIOCGWINSZ)
	runes := []rune(line)
	if err != nil || size.Col == 0 || len(runes) < int(size.Col) {
		return line
	}
	return string(runes[:size.Col-1])
}

// end leaves the last live line standing.
func (s *screen) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line != "" {
		_, _ = fmt.Fprintln(s.out)
		s.line = ""
	}
}

// logs is where log lines go.
func (s *screen) logs() io.Writer {
	if !s.shared {
		return s.err
	}
	return logWriter{s}
}

type logWriter struct{ s *screen }

func (w logWriter) Write(p []byte) (int, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if w.s.line == "" {
		return w.s.err.Write(p)
	}
	_, _ = fmt.Fprint(w.s.out, eraseLine)
	n, err := w.s.err.Write(p)
	_, _ = fmt.Fprint(w.s.out, w.s.line)
	return n, err
}
