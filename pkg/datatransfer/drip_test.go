package datatransfer

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/redisconn"
)

// drip passes everything on to a server, but on its first connections (as many
// as configured) it lets only so many bytes of the server's through; from then
// on one byte now and then.
type drip struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu    sync.Mutex // guards all below
	conns []net.Conn
	free  bool
}

func newDrip(t *testing.T, server string, whole int, every time.Duration) *drip {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &drip{listener: l}
	d.wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			d.mu.Lock()
			d.conns = append(d.conns, client, up)
			drips := !d.free && len(d.conns) == 2 // the subscription's connection comes first
			d.free = true
			d.mu.Unlock()
			d.wg.Go(func() { _, _ = io.Copy(up, client); _ = up.Close() })
			d.wg.Go(func() {
				defer func() { _ = client.Close() }()
				if !drips {
					_, _ = io.Copy(client, up)
					return
				}
				_, _ = io.CopyN(client, up, int64(whole))
				for {
					if _, err := io.CopyN(client, up, 1); err != nil {
						return
					}
					time.Sleep(every)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		d.mu.Lock()
		for _, c := range d.conns {
			_ = c.Close()
		}
		d.mu.Unlock()
		d.wg.Wait()
	})
	return d
}

// A peer that sends one byte now and then is as good as silent, wherever it
// begins: in the greeting, in the confirmations, or in the probe's message.
func TestADrippingPeerIsNoticed(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t, redistest.WithPassword("secret"))
	for name, whole := range map[string]int{"greeting": 0, "confirmations": 8, "probe": 120} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testkit.Fast("redis://" + newDrip(t, server.Addr(), whole, 150*time.Millisecond).listener.Addr().String() + "/0")
			cfg.PasswordFile = server.PasswordFile()
			cfg.IOTimeout = time.Second
			began := time.Now()
			h := listen(t, cfg)
			s := h.waitCause(t, redisconn.CauseFrozen, redisconn.CauseBlackHole)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("noticed after %s: %s", took, s.Detail)
			}
			h.waitLive(t) // the next connection does not drip
		})
	}
}
