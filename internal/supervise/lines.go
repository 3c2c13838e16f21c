package supervise

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"time"

	"framekeeper/internal/text"
)

// maxLine bounds what one line of an agent may occupy here.
const maxLine = 16 << 10

// sink is where the output of all agents meets, one whole line at a time.
type sink struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

func (s *sink) write(line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.w.Write(line) // nobody is left to tell when the log itself is gone
}

// lines cuts one output of an agent into lines and hands them on: those of the agent's
// logger, which has given them their form, unchanged, others without secrets. Write never fails, so
// that the agent is never blocked or ended by its own output.
type lines struct {
	sink *sink

	mu    sync.Mutex // guards all below
	part  []byte     // of the line that has not ended yet
	last  string     // the last line that was not blank
	crash string     // the line with which Go's runtime began to say why it ends the process
}

// Write takes the next piece of output.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for rest := p; len(rest) > 0; {
		piece, after, ended := bytes.Cut(rest, []byte{'\n'})
		if room := maxLine - len(l.part); len(piece) > room {
			piece = piece[:room] // the end of an overlong line is dropped
		}
		l.part = append(l.part, piece...)
		if ended {
			l.emit()
		}
		rest = after
	}
	return len(p), nil
}

// flush hands on a last line that was never ended.
func (l *lines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.part) > 0 {
		l.emit()
	}
}

func (l *lines) emit() {
	if len(bytes.TrimSpace(l.part)) > 0 {
		l.last = printable(l.part)
	}
	if l.crash == "" && isCrash(l.part) {
		l.crash = printable(l.part)
	}
	if !logged(l.part) {
		l.part = append(l.part[:0], text.HideSecrets(string(l.part))...)
	}
	l.sink.write(append(l.part, '\n'))
	l.part = l.part[:0]
}

// lastLine is the last line that was not blank, shortened and without control
// characters: fit for a status.
func (l *lines) lastLine() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// crashLine is how the process said that it crashed, "" if it did not.
func (l *lines) crashLine() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.crash
}

// logged reports whether a line looks like one of the agent's logger: as JSON, or with
// date and time first. Others are of libraries, which show what they were given;
// GStreamer's begin with a time too.
func logged(line []byte) bool {
	if len(line) > 0 && line[0] == '{' {
		return true
	}
	const date = "2006-01-02 "
	_, err := time.Parse(date, string(line[:min(len(line), len(date))]))
	return err == nil
}

// isCrash knows the first line of a Go program that crashes: a panic, a fatal
// error such as a deadlock, a signal of the processor's ("SIGSEGV: …").
func isCrash(line []byte) bool {
	if bytes.HasPrefix(line, []byte("panic: ")) || bytes.HasPrefix(line, []byte("fatal error: ")) {
		return true
	}
	name, _, found := bytes.Cut(line, []byte(": "))
	return found && bytes.HasPrefix(name, []byte("SIG")) && !bytes.ContainsRune(name, ' ')
}

// printable is a line as a log or status may show it: also libraries write there, and
// they show what they were given.
func printable(line []byte) string {
	return text.Printable(text.HideSecrets(strings.TrimSpace(string(line))), 300)
}
