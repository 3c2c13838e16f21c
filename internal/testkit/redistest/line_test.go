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
		_ = from.SetWriteDeadline(time.Now().Add(patient))
		write(t, from, big)
		silent(t, to, 100*time.Millisecond)
		write(t, to, []byte("other way"))
		arrives(t, from, "other way", patient)
		p.proxy.Unstall(d)
		arrives(t, to, string(big), patient)
	}
}

func TestProxyDelays(t *testing.T) {
	t.Parallel()
	p := connect(t)
	const by = time.Second
	p.proxy.Delay(ToServer, by)
	write(t, p.client, []byte("a"))
	if took := arrives(t, p.server, "a", patient); took < by || took > by+2*time.Second {
		t.Errorf("delayed by %v, want %v", took, by)
	}
	write(t, p.server, []byte("b"))
	if took := arrives(t, p.client, "b", patient); took >= by {
		t.Errorf("the other direction is delayed too, by %v", took)
	}
	// A delay is not a limit: much can be on its way at once.
	big := bytes.Repeat([]byte("z"), 4<<20)
	go func() { _, _ = p.client.Write(big) }()
	if took := arrives(t, p.server, string(big), patient); took > by+3*time.Second {
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
		o.Addr, o.WriteTimeout, o.ReadTimeout = p.Addr(), patient, patient
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

// A machine so busy that every timer is late must not make a line slower than it
// is, nor may a line that was idle or dark make up for that.
func TestALateTimerSlowsNoLine(t *testing.T) {
	t.Parallel()
	const rate = 1000
	passed := func(l *line, at time.Time) (n int) { // without waiting
		for {
			allowed, wait, _ := l.look(at, chunkSize)
			if wait > 0 {
				return n
			}
			n += allowed
		}
	}
	late := time.Now().Add(-time.Second)
	l := newLine()
	l.rate, l.free = rate, late
	if n := passed(l, late); n < rate-10 || n > 2*rate {
		t.Errorf("a second late: %d bytes of a line of %d a second went at once, want all that were due", n, rate)
	}
	l = newLine()
	l.rate, l.free = rate, late
	if n := passed(l, time.Now()); n > rate/2 {
		t.Errorf("idle for a second: %d bytes went at once, want none of what it could have carried", n)
	}
	l.set(func(l *line) { l.free = late })
	if n := passed(l, late); n > rate/2 {
		t.Errorf("dark for a second: %d bytes went at once, want none of what it could have carried", n)
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
	_ = p.client.SetWriteDeadline(time.Now().Add(patient))
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
	arrives(t, p.server, "123", patient)
	write(t, p.client, []byte("456789"))
	if got := ended(t, p.server); string(got) != "45" {
		t.Errorf("before the cut came %q, want %q", got, "45")
	}
	ended(t, p.client)
	if n := p.proxy.Bytes(ToServer); n != 5 {
		t.Errorf("%d bytes counted, want 5", n)
	}
}
