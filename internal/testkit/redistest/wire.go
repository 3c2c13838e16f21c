package redistest

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// limitedBuffer is the size asked for each of the proxy's own socket buffers on
// a connection under a bandwidth limit (the kernel doubles it).
const limitedBuffer = 16 << 10

// wire is one proxied connection: two sockets, and two pipes between them, each
// with a goroutine that reads and one that writes.
//
//	client ──read──► up queue ──line──► write── server
//	client ◄──write── line ◄── down queue ◄──read── server
type wire struct {
	proxy          *Proxy
	client, server *net.TCPConn
	ctx            context.Context // ends when the connection is cut
	cancel         context.CancelFunc
	memory         *memory // what was seen of requests and replies
}

func newWire(p *Proxy, client, server *net.TCPConn) *wire {
	w := &wire{proxy: p, client: client, server: server, memory: &memory{}}
	w.ctx, w.cancel = context.WithCancel(p.ctx)
	w.shrink()
	return w
}

// run moves bytes until both directions have ended, and closes both sockets.
func (w *wire) run() {
	up := newPipe(w, w.proxy.toServer, w.client, w.server, w.request)
	down := newPipe(w, w.proxy.toClient, w.server, w.client, w.reply)
	var pumps sync.WaitGroup
	for _, pump := range []func(){up.read, up.write, down.read, down.write} {
		pumps.Go(pump)
	}
	pumps.Wait()
	w.close()
}

// shrink makes the socket buffers small if a limit is set for their direction.
func (w *wire) shrink() {
	small := func(l *line, from, to *net.TCPConn) {
		if l.limited() {
			_ = from.SetReadBuffer(limitedBuffer) // fails only on a closed socket
			_ = to.SetWriteBuffer(limitedBuffer)
		}
	}
	small(w.proxy.toServer, w.client, w.server)
	small(w.proxy.toClient, w.server, w.client)
}

// close ends the connection at once; what is queued is dropped.
func (w *wire) close() {
	w.cancel()
	closeNow(w.client)
	closeNow(w.server)
}

// reset is close with a TCP reset on both sides.
func (w *wire) reset() {
	_ = w.client.SetLinger(0)
	_ = w.server.SetLinger(0)
	w.close()
}

// chunk is what one read gave, and when.
type chunk struct {
	data []byte
	at   time.Time
}

// pipe is one direction of a wire.
type pipe struct {
	wire   *wire
	line   *line
	from   *net.TCPConn
	to     *net.TCPConn
	filter func([]byte) bool // sees bytes before they are written; false: drop them

	mu    sync.Mutex // guards queue, held and eof
	queue []chunk
	held  int
	eof   bool
	more  chan struct{} // holds a token when the queue or eof has changed
	less  chan struct{} // holds a token when held has shrunk
}

func newPipe(w *wire, l *line, from, to *net.TCPConn, filter func([]byte) bool) *pipe {
	return &pipe{wire: w, line: l, from: from, to: to, filter: filter,
		more: make(chan struct{}, 1), less: make(chan struct{}, 1)}
}

func post(token chan<- struct{}) {
	select {
	case token <- struct{}{}:
	default:
	}
}

// read fills the queue, as long as it has room.
func (p *pipe) read() {
	for p.awaitRoom() {
		buf := make([]byte, chunkSize)
		n, err := p.from.Read(buf)
		p.push(chunk{data: buf[:n], at: time.Now()}, err != nil)
		if err == nil {
			continue
		}
		if !errors.Is(err, io.EOF) {
			p.wire.reset() // a reset on one side is a reset on the other
		}
		return
	}
}

func (p *pipe) push(c chunk, eof bool) {
	p.mu.Lock()
	if len(c.data) > 0 {
		p.queue = append(p.queue, c)
		p.held += len(c.data)
	}
	p.eof = p.eof || eof
	p.mu.Unlock()
	post(p.more)
}

// awaitRoom returns true when another chunk fits, false when the wire is cut.
func (p *pipe) awaitRoom() bool {
	for p.wire.ctx.Err() == nil {
		room, changed := p.line.room()
		p.mu.Lock()
		fits := p.held < room
		p.mu.Unlock()
		if fits {
			return true
		}
		select {
		case <-p.less:
		case <-changed:
		case <-p.wire.ctx.Done():
		}
	}
	return false
}

// write empties the queue at the speed the line allows.
func (p *pipe) write() {
	for {
		c, ok := p.pop()
		if !ok {
			break
		}
		for len(c.data) > 0 {
			n := p.line.pass(p.wire.ctx, c.at, len(c.data))
			if n == 0 || !p.send(c.data[:n]) {
				return
			}
			c.data = c.data[n:]
			p.release(n)
		}
	}
	if p.wire.ctx.Err() == nil { // a cut is no orderly end
		_ = p.to.CloseWrite() // hands the end on; fails only if the wire is cut
	}
}

// pop waits for a chunk; false means that the stream has ended or was cut.
func (p *pipe) pop() (chunk, bool) {
	for {
		p.mu.Lock()
		if len(p.queue) > 0 {
			c := p.queue[0]
			p.queue = p.queue[1:]
			p.mu.Unlock()
			return c, true
		}
		eof := p.eof
		p.mu.Unlock()
		if eof {
			return chunk{}, false
		}
		select {
		case <-p.more:
		case <-p.wire.ctx.Done():
			return chunk{}, false
		}
	}
}

func (p *pipe) release(n int) {
	p.mu.Lock()
	p.held -= n
	p.mu.Unlock()
	post(p.less)
}

// send writes bytes; false means that the wire is cut now.
func (p *pipe) send(data []byte) bool {
	if !p.filter(data) {
		return p.wire.ctx.Err() == nil
	}
	n, cut := p.line.take(len(data))
	if _, err := p.to.Write(data[:n]); err != nil {
		p.wire.reset()
		return false
	}
	if cut {
		p.wire.close()
	}
	return !cut
}
