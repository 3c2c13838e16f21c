package redisconn

import (
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// meter knows every connection of one Target and what passed through them.
type meter struct {
	start    time.Time
	lastRead [2]atomic.Int64 // by Role: ns after start at which a byte last arrived
	bytesIn  [2]atomic.Uint64
	written  atomic.Uint64
	dials    atomic.Uint64 // control connections that the server's kernel accepted

	mu     sync.Mutex // guards conns, closed and the acked value last seen of each
	conns  map[*conn]uint64
	closed bool
}

func newMeter() *meter {
	return &meter{start: time.Now(), conns: map[*conn]uint64{}}
}

func (m *meter) read(role Role, n int) {
	m.bytesIn[role].Add(uint64(n)) //nolint:gosec // not negative
	m.lastRead[role].Store(int64(time.Since(m.start)))
}

func (m *meter) last(role Role) time.Time {
	ns := m.lastRead[role].Load()
	if ns == 0 {
		return time.Time{}
	}
	return m.start.Add(time.Duration(ns))
}

// add takes a fresh connection in, unless the target was closed meanwhile.
func (m *meter) add(c *conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.conns[c] = 0
	if c.role == Control {
		m.dials.Add(1)
	}
	return true
}

func (m *meter) forget(c *conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.conns, c)
}

// closeAll ends every connection at once; whoever reads or writes them returns.
// What the kernel has not sent yet is dropped: nobody waits for its reply any
// more, and on a slow line it would only be in the next session's way.
func (m *meter) closeAll() {
	m.mu.Lock()
	m.closed = true
	all := make([]net.Conn, 0, len(m.conns))
	for c := range m.conns {
		all = append(all, c.Conn)
	}
	m.conns = map[*conn]uint64{}
	m.mu.Unlock()
	for _, c := range all {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // fails only on a closed one
		}
		_ = c.Close()
	}
}

// local is this machine's address on the connections, "" where it has none.
func (m *meter) local() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.conns {
		if a, ok := c.LocalAddr().(*net.TCPAddr); ok {
			return a.IP.String()
		}
	}
	return ""
}

// acked is how many bytes the far kernel has of all connections; it stands still
// when nothing moves, and jumps when one closes.
func (m *meter) acked() (sum uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.conns {
		if q, ok := queueOf(c.Conn); ok {
			sum += q.acked
		}
	}
	return sum
}

// ask puts a question on each connection that has waited for so long.
func (m *meter) ask(waited time.Duration) {
	m.mu.Lock()
	all := slices.Collect(maps.Keys(m.conns))
	m.mu.Unlock()
	for _, c := range all {
		if q := c.questioned.Load(); q != nil {
			q.ask(waited)
		}
	}
}

// Activity is what the connections of a Target have to show for themselves.
type Activity struct {
	LastRead    time.Time // when a byte last arrived on any of them; zero if none did
	ControlRead time.Time // the same for the subscription's connection alone
	In          uint64    // bytes that have arrived on all of them
	ControlIn   uint64    // on the subscription's alone

	Moving bool // bytes we wrote are on their way, and some were acknowledged since the last look
	Stuck  bool // bytes we wrote are not acknowledged by the far kernel
}

func (m *meter) activity() Activity {
	a := Activity{LastRead: m.last(Data), ControlRead: m.last(Control), ControlIn: m.bytesIn[Control].Load()}
	a.In = a.ControlIn + m.bytesIn[Data].Load()
	if a.ControlRead.After(a.LastRead) {
		a.LastRead = a.ControlRead
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for c, before := range m.conns {
		q, ok := queueOf(c.Conn)
		if !ok {
			continue
		}
		m.conns[c] = q.acked
		if q.unacked > 0 {
			a.Stuck = true
			// An acknowledged byte proves a kernel, not Redis. It counts only
			// while more is on its way: a frozen Redis's kernel takes what it
			// can hold at once and then stands still.
			a.Moving = a.Moving || q.acked != before
		}
	}
	return a
}
