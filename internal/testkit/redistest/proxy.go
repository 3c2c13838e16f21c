package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Direction is a way bytes or packets take; Both is the two together.
type Direction uint8

// The directions, as seen from the client.
const (
	ToServer Direction = 1 << iota
	ToClient
	Both = ToServer | ToClient
)

const (
	// proxyDialLimit bounds the proxy's dial to its target.
	proxyDialLimit = 2 * time.Second
	// ethernetSegment is what fits into an Ethernet frame.
	ethernetSegment = 1448
)

// Proxy is a TCP proxy on loopback that counts bytes and breaks the wire in
// chosen ways. While its target refuses connections it accepts them and resets
// them at once; Refuse makes it refuse them itself.
//
// All its methods may be called from any goroutine.
type Proxy struct {
	tb       TB
	target   string
	port     int
	toServer *line
	toClient *line
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	work     sync.WaitGroup // every goroutine of the proxy

	mu       sync.Mutex // guards the fields below
	listener net.Listener
	conns    map[*wire]struct{}
	accepted int64
	loss     *loss
	longest  int64 // bytes without an answer; 0: any number
	closed   bool
}

// NewProxy starts a proxy to target ("host:port"). It ends with the test.
func NewProxy(tb TB, target string) *Proxy {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &Proxy{tb: tb, target: target, ctx: ctx, cancel: cancel,
		toServer: newLine(), toClient: newLine(), conns: map[*wire]struct{}{}}
	tb.Cleanup(p.Close)
	const tries = 20
	for i := range tries { // another program may take the port before we do
		port, r, err := reservePort("127.0.0.1")
		if err != nil {
			tb.Fatalf("redistest: start proxy: %v", err)
		}
		p.port = port
		if err = p.listen(); err == nil {
			tb.Cleanup(r.release)
			return p
		}
		r.release()
		if i == tries-1 {
			tb.Fatalf("redistest: proxy to %s: %v", target, err)
		}
	}
	return p
}

// Addr is where clients connect, the same for the proxy's whole life.
func (p *Proxy) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)) }

// URL is the proxy's address as config.toml wants it.
func (p *Proxy) URL() string { return "redis://" + p.Addr() + "/0" }

// Close cuts everything and returns when all goroutines have ended.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Refuse()
	p.cancel()
	p.CutAll()
	p.work.Wait()
}

// Refuse closes the listener: new connections are refused by the kernel, those
// that exist go on.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		closeNow(p.listener) // the accept loop ends with it
		p.listener = nil
	}
}

// Accept opens the listener again, on the same port.
func (p *Proxy) Accept() {
	p.tb.Helper()
	if err := p.listen(); err != nil {
		p.tb.Fatalf("redistest: proxy to %s: %v", p.target, err)
	}
}

func (p *Proxy) listen() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.listener != nil {
		return nil
	}
	conf := net.ListenConfig{Control: likeEthernet}
	l, err := conf.Listen(p.ctx, "tcp", p.Addr())
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	p.listener = l
	p.work.Go(func() { p.serve(l) })
	return nil
}

// serve accepts until the listener is closed.
func (p *Proxy) serve(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		p.work.Go(func() { p.join(client.(*net.TCPConn)) })
	}
}

// join connects one client with the target and stays until both are closed.
func (p *Proxy) join(client *net.TCPConn) {
	p.mu.Lock()
	p.accepted++
	p.mu.Unlock()
	d := net.Dialer{Timeout: proxyDialLimit, Control: likeEthernet}
	server, err := d.DialContext(p.ctx, "tcp", p.target)
	if err != nil {
		_ = client.SetLinger(0)
		closeNow(client)
		return
	}
	w := newWire(p, client, server.(*net.TCPConn))
	p.mu.Lock()
	p.conns[w] = struct{}{}
	closed := p.closed
	p.mu.Unlock()
	if closed {
		w.reset()
	}
	w.run()
	p.mu.Lock()
	delete(p.conns, w)
	p.mu.Unlock()
}

// likeEthernet makes both peers of a socket send segments as on a real wire. The
// kernel sizes send buffers after the segment: with loopback's 64 KiB a sender
// gets megabytes of buffer and hardly feels a slow line.
func likeEthernet(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, ethernetSegment)
	})
	return errors.Join(err, failed)
}

// CutAll closes all connections now, both sides, without delivering what the
// proxy still holds. The peers see an orderly close, or a reset if they had sent
// something that the proxy has not read yet.
func (p *Proxy) CutAll() {
	for _, w := range p.open() {
		w.close()
	}
}

// ResetAll is CutAll with a TCP reset instead of an orderly close.
func (p *Proxy) ResetAll() {
	for _, w := range p.open() {
		w.reset()
	}
}

func (p *Proxy) open() []*wire {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]*wire, 0, len(p.conns))
	for w := range p.conns {
		list = append(list, w)
	}
	return list
}
