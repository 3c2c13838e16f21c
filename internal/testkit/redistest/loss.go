package redistest

import (
	"bytes"
	"slices"
	"sync"
)

// loss is one reply that is to be lost.
type loss struct {
	match []byte
	done  chan struct{} // closed when the reply is lost
}

// LoseReplyAfter waits, once, for a request that contains match. The request
// goes through to the server; from then on nothing more reaches that client,
// and its connection is closed as soon as the server has answered that request
// and all before it. The channel it returns is closed at that moment. A match is
// looked for within one connection's bytes, and only in plain (not TLS) ones.
func (p *Proxy) LoseReplyAfter(match []byte) <-chan struct{} {
	l := &loss{match: bytes.Clone(match), done: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loss = l
	return l.done
}

func (p *Proxy) planned() (l *loss, longest int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.loss, p.longest
}

// claim lets the first connection that saw the match have the loss.
func (p *Proxy) claim(l *loss) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loss != l {
		return false
	}
	p.loss = nil
	return true
}

// memory is what one connection remembers of its requests and replies.
type memory struct {
	mu       sync.Mutex // guards the fields below
	waiting  int64      // bytes to the server since its last answer
	tail     []byte     // end of what was sent, for a match across two pieces
	requests respCounter
	replies  respCounter
	losing   *loss // set from the match on
	// lost is the number of the reply that is to be lost. On a subscription, where
	// replies outnumber requests, it has passed already, and the next one is lost.
	lost int64
}

// request looks at bytes on their way to the server and says whether they pass.
func (w *wire) request(data []byte) bool {
	l, longest := w.proxy.planned()
	m := w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.waiting += int64(len(data)); longest > 0 && m.waiting > longest {
		w.close()
		return false
	}
	if l == nil {
		m.tail = nil
	} else if m.losing == nil {
		if end := m.find(l.match, data); end > 0 && w.proxy.claim(l) {
			m.losing = l
			m.lost = m.requests.feed(data[:end]) + 1
			if m.requests.atBoundary() {
				m.lost--
			}
			data = data[end:]
		}
	}
	m.requests.feed(data)
	return true
}

// find returns the index in data just after match, which is above 0, or -1. The
// match may have begun in earlier pieces, whose end it keeps. An empty match is
// found in any request.
func (m *memory) find(match, data []byte) int {
	if len(match) == 0 {
		return 1
	}
	keep := len(match) - 1 // so the match cannot lie in earlier pieces alone
	before := m.tail[max(0, len(m.tail)-keep):]
	seen := slices.Concat(before, data)
	m.tail = seen[max(0, len(seen)-keep):]
	at := bytes.Index(seen, match)
	if at < 0 {
		return -1
	}
	return at + len(match) - len(before)
}

// reply looks at bytes on their way to the client and says whether they pass.
func (w *wire) reply(data []byte) bool {
	m := w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting = 0
	answered := m.replies.feed(data)
	if m.losing == nil {
		return true
	}
	if answered >= m.lost || m.replies.broken {
		w.close()
		close(m.losing.done)
		m.losing, m.lost = nil, 0
	}
	return false
}
