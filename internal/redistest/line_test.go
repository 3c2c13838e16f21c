package redistest

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestProxyStallsOneDirection(t *testing.T) {
	t.Parallel()
	for _, d := range []Direction{ToServer, ToClient} {
		p := connect(t)
		from, to := p.client, p.server
		if d == ToClient {
			from, to = to, from
		}
		p.proxy.Stall(d)
		// Far more than the kernel's buffers: the proxy takes it all.
		big := bytes.Repeat([]byte("z"), 24<<20)
		_ = from.SetWriteDeadline(time.Now().Add(5 * time.Second))
		write(t, from, big)
		silent(t, to, 100*time.Millisecond)
		write(t, to, []byte("other way"))
		arrives(t, from, "other way", 5*time.Second)
		p.proxy.Unstall(d)
		arrives(t, to, string(big), 10*time.Second)
	}
}

func TestProxyDelays(t *testing.T) {
	t.Parallel()
	p := connect(t)
	const by = 300 * time.Millisecond
	p.proxy.Delay(ToServer, by)
	write(t, p.client, []byte("a"))
	if took := arrives(t, p.server, "a", 5*time.Second); took < by || took > by+2*time.Second {
		t.Errorf("delayed by %v, want %v", took, by)
	}
	write(t, p.server, []byte("b"))
	if took := arrives(t, p.client, "b", 5*time.Second); took >= by {
		t.Errorf("the other direction is delayed too, by %v", took)
	}
	// A delay is not a limit: much can be on its way at once.
	big := bytes.Repeat([]byte("z"), 4<<20)
	go func() { _, _ = p.client.Write(big) }()
	if took := arrives(t, p.server, string(big), 5*time.Second); took > by+3*time.Second {
		t.Errorf("4 MB took %v with a delay of %v", took, by)
	}
}

func TestProxyLimitsAllConnectionsTogether(t *testing.T) {
	t.Parallel()
	s := Start(t)
	p := NewProxy(t, s.Addr())
	const rate = 1 << 20
	p.Limit(ToServer, rate)
	begun := time.Now()
	var senders sync.WaitGroup
	for _, key := range []string{"a", "b"} {
		o := s.ClientOptions()
		o.Addr, o.WriteTimeout, o.ReadTimeout = p.Addr(), 10*time.Second, 10*time.Second
		c := redis.NewClient(o)
		defer c.Close()
		senders.Go(func() {
			if err := c.Set(t.Context(), key, make([]byte, rate/2), 0).Err(); err != nil {
				t.Errorf("SET: %v", err)
			}
		})
	}
	senders.Wait()
	if took := time.Since(begun); took < 950*time.Millisecond || took > 4*time.Second {
		t.Errorf("two halves of what a second carries took %v, want 1 s", took)
	}
}

func TestProxyLimitPushesBack(t *testing.T) {
	t.Parallel()
	p := connect(t, func(p *Proxy) { p.Limit(ToServer, 64<<10) })
	_ = p.client.(*net.TCPConn).SetWriteBuffer(32 << 10)
	_ = p.client.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	n, err := p.client.Write(make([]byte, 8<<20))
	if err == nil || n > 512<<10 {
		t.Errorf("in 300 ms %d bytes went into a line of 64 KiB/s, %v; want it to push back", n, err)
	}
	p.proxy.Limit(ToServer, 0)
	_ = p.client.SetWriteDeadline(time.Now().Add(5 * time.Second))
	go func() { _, _ = io.Copy(io.Discard, p.server) }()
	if _, err := p.client.Write(make([]byte, 8<<20)); err != nil {
		t.Errorf("write after the limit ended: %v", err)
	}
	p.proxy.CutAll()
}

func TestProxyCutAfter(t *testing.T) {
	t.Parallel()
	p := connect(t)
	p.proxy.CutAfter(ToServer, 5)
	write(t, p.client, []byte("123"))
	arrives(t, p.server, "123", 5*time.Second)
	write(t, p.client, []byte("456789"))
	if got := ended(t, p.server); string(got) != "45" {
		t.Errorf("before the cut came %q, want %q", got, "45")
	}
	ended(t, p.client)
	if n := p.proxy.Bytes(ToServer); n != 5 {
		t.Errorf("%d bytes counted, want 5", n)
	}
}
