package redistest

import "time"

// lines are the settings of the directions in d.
func (p *Proxy) lines(d Direction) []*line {
	var list []*line
	if d&ToServer != 0 {
		list = append(list, p.toServer)
	}
	if d&ToClient != 0 {
		list = append(list, p.toClient)
	}
	return list
}

// Stall makes the proxy take bytes (up to 64 MiB per connection) and
// acknowledge them, but pass none on, in one direction or both. New
// connections are accepted and stalled too.
func (p *Proxy) Stall(d Direction) { p.set(d, func(l *line) { l.stalled = true }) }

// Unstall passes on what was held, and goes on as before.
func (p *Proxy) Unstall(d Direction) { p.set(d, func(l *line) { l.stalled = false }) }

// Delay passes on each byte that much later; 0 ends it.
func (p *Proxy) Delay(d Direction, by time.Duration) { p.set(d, func(l *line) { l.delay = by }) }

// Limit bounds each direction in d to so many bytes a second, shared by all
// connections, with small buffers in front of it, so that a sender soon feels
// it. 0 ends it; connections that lived under it keep their small buffers.
func (p *Proxy) Limit(d Direction, bytesPerSecond int) {
	p.set(d, func(l *line) { l.rate, l.free = float64(bytesPerSecond), time.Time{} })
	for _, w := range p.open() {
		w.shrink()
	}
}

// CutAfter cuts the connection that carries the n-th byte from now in a
// direction, right after that byte: once, and only that connection. n is
// counted over all connections; 0 or less cancels it.
func (p *Proxy) CutAfter(d Direction, n int64) {
	p.set(d, func(l *line) { l.cutIn = max(n, 0) })
}

// CutLarge cuts every connection, again and again, that carries more than n bytes
// to the server without an answer, as middleboxes with a bounded buffer do; 0 ends it.
func (p *Proxy) CutLarge(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.longest = n
}

func (p *Proxy) set(d Direction, change func(*line)) {
	for _, l := range p.lines(d) {
		l.set(change)
	}
}

// Bytes is how many bytes have been passed on, over all connections.
func (p *Proxy) Bytes(d Direction) int64 {
	var n int64
	for _, l := range p.lines(d) {
		n += l.passed()
	}
	return n
}

// Accepted is how many connections clients have made so far.
func (p *Proxy) Accepted() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Open is how many connections are open now.
func (p *Proxy) Open() int { return len(p.open()) }
