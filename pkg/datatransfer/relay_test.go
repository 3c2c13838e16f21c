package datatransfer

import (
	"io"
	"net"
	"sync"
	"testing"
)

// relay passes connections on to its targets in turn, and can stop passing
// bytes back on one chosen connection while the others go on. redistest.Proxy
// treats all connections alike.
type relay struct {
	listener net.Listener
	targets  []string
	wg       sync.WaitGroup

	mu    sync.Mutex // guards all below
	deaf  map[string]bool
	conns []net.Conn
	count int
}

func newRelay(t *testing.T, targets ...string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, targets: targets, deaf: map[string]bool{}}
	r.wg.Go(r.accept)
	t.Cleanup(func() {
		_ = l.Close()
		r.mu.Lock()
		for _, c := range r.conns {
			_ = c.Close()
		}
		r.mu.Unlock()
		r.wg.Wait()
	})
	return r
}

func (r *relay) addr() string { return r.listener.Addr().String() }

// deafen swallows everything the server says from now on to the client it knows
// by this address.
func (r *relay) deafen(addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deaf[addr] = true
}

func (r *relay) isDeaf(addr string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.deaf[addr]
}

func (r *relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		n := r.count
		r.count++
		r.mu.Unlock()
		server, err := net.Dial("tcp", r.targets[n%len(r.targets)])
		if err != nil {
			_ = client.Close()
			continue
		}
		r.mu.Lock()
		r.conns = append(r.conns, client, server)
		r.mu.Unlock()
		r.wg.Go(func() { _, _ = io.Copy(server, client); _ = server.Close() })
		r.wg.Go(func() { r.back(client, server) })
	}
}

func (r *relay) back(client, server net.Conn) {
	defer func() { _ = client.Close() }()
	buf := make([]byte, 64<<10)
	for {
		k, err := server.Read(buf)
		if err != nil {
			return
		}
		if r.isDeaf(server.LocalAddr().String()) {
			continue
		}
		if _, err := client.Write(buf[:k]); err != nil {
			return
		}
	}
}
