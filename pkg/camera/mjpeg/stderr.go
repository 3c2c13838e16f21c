package mjpeg

import (
	"bufio"
	"errors"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"

	"framekeeper/internal/text"
)

const (
	tailLines = 3
	tailWidth = 200 // characters of a line
)

// stderrTail reads what a process writes to stderr and has the last lines of it,
// in a form that may be shown.
type stderrTail struct {
	r      *os.File
	hidden *strings.Replacer
	done   chan struct{} // closed when there is no more to read

	mu    sync.Mutex // guards lines
	lines []string
}

// newStderrTail also gives the end to write to. hide is replaced in the lines.
func newStderrTail(hide []string) (*stderrTail, *os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	var pairs []string
	for _, s := range hide {
		pairs = append(pairs, s, "…")
	}
	t := &stderrTail{r: r, hidden: strings.NewReplacer(pairs...), done: make(chan struct{})}
	go t.read()
	return t, w, nil
}

func (t *stderrTail) read() {
	defer close(t.done)
	r := bufio.NewReaderSize(t.r, 4096)
	for {
		line, err := r.ReadSlice('\n')
		t.add(string(line))
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of a long line
			_, err = r.ReadSlice('\n')
		}
		if err != nil {
			return
		}
	}
}

// add adds a line. Of programs that draw their progress over and over in one
// line the last of it counts.
func (t *stderrTail) add(line string) {
	line = strings.TrimRight(line, "\r\n")
	line = line[strings.LastIndexByte(line, '\r')+1:]
	line = text.HideSecrets(inURL.ReplaceAllString(t.hidden.Replace(line), "$1…"))
	line = text.Printable(strings.Join(strings.Fields(line), " "), tailWidth)
	if line == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == tailLines {
		t.lines = append(t.lines[:0], t.lines[1:]...)
	}
	t.lines = append(t.lines, line)
}

// final is text after a moment, in which the last words of a process that has just
// ended arrive.
func (t *stderrTail) final() string {
	limit := time.NewTimer(200 * time.Millisecond)
	defer limit.Stop()
	select {
	case <-t.done:
	case <-limit.C: // somebody else holds the pipe
	}
	return t.text()
}

// text is the last lines so far.
func (t *stderrTail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, " | ")
}

// close waits for the reading to end.
func (t *stderrTail) close() {
	_ = t.r.Close()
	<-t.done
}

// inURL finds what follows the scheme of a URL: user, password and tokens may
// stand there in more than one way.
var inURL = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^\s'"]+`)

// secrets are the words of a command, and of a script for sh -c in it, that may
// be passwords: what follows an option, or an =, of such a name.
func secrets(words []string) []string {
	found := secretWords(words[1:])
	for _, w := range words[1:] {
		if script := strings.FieldsFunc(w, inScript); len(script) > 1 {
			found = append(found, secretWords(script)...)
		}
	}
	return found
}

// inScript is what stands between the words of a script, roughly.
func inScript(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(";|&()", r) }

func secretWords(words []string) (found []string) {
	named := false
	for _, w := range words {
		key, value, ok := strings.Cut(w, "=")
		if !ok && named && !strings.HasPrefix(w, "--") {
			found = appendSecret(found, w)
		}
		named = secretName(key)
		if ok && named {
			found = appendSecret(found, value)
		}
		if strings.Contains(w, "@") && !strings.Contains(w, "://") {
			found = appendSecret(found, w)
		}
		named = named && !ok
	}
	return found
}

func appendSecret(found []string, s string) []string {
	s = strings.Trim(s, "'\"`") // as a script has it
	if len(s) < 3 {             // no secret, and it would be cut out of every word
		return found
	}
	return append(found, s)
}

func secretName(s string) bool {
	s = strings.ToLower(s)
	for _, part := range []string{"pass", "pw", "secret", "token", "key", "auth", "user", "cookie", "header", "cred"} {
		if strings.Contains(s, part) {
			return true
		}
	}
	return s == "-u" || s == "-p" || s == "-H"
}
