package testkit

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
)

// Log collects log lines; any goroutine may write.
type Log struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// Messages are the "message" fields, in order.
func (l *Log) Messages() []string {
	var out []string
	for _, line := range strings.Split(strings.TrimSpace(l.String()), "\n") {
		var f struct {
			Message string `json:"message"`
		}
		if json.Unmarshal([]byte(line), &f) == nil {
			out = append(out, f.Message)
		}
	}
	return out
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
