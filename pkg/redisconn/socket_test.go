package redisconn

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"framekeeper/internal/testkit/redistest"
)

// sockets are the target's connections below TLS.
func sockets(t *testing.T, target *Target) (all []*net.TCPConn) {
	t.Helper()
	target.meter.mu.Lock()
	defer target.meter.mu.Unlock()
	for c := range target.meter.conns {
		all = append(all, c.Conn.(*net.TCPConn))
	}
	return all
}

func option(t *testing.T, c *net.TCPConn, level, name int) int {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	value := 0
	cerr := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, name) })
	if err != nil || cerr != nil {
		t.Fatalf("getsockopt %d: %v, %v", name, err, cerr)
	}
	return value
}

// The second line of defence behind the probe is the kernel's, and only as good
// as what it was configured with.
func TestTheKernelWatchesToo(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	cfg := at(server.URL())
	cfg.IOTimeout = 3 * time.Second
	target := mustOpen(t, cfg)
	mustPing(t, clientOf(t, target, Data))
	ps := clientOf(t, target, Control).Subscribe(context.Background(), "requests")
	defer func() { _ = ps.Close() }()
	if _, err := ps.Receive(context.Background()); err != nil {
		t.Fatal(err)
	}
	all := sockets(t, target)
	if len(all) != 2 {
		t.Fatalf("the target knows %d connections, want 2", len(all))
	}
	for _, c := range all {
		for _, o := range []struct {
			what        string
			level, name int
			want        int
		}{
			{"keepalive", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{"keepalive idle s", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 1},
			{"keepalive interval s", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 1},
			{"keepalive count", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 2},
			{"user timeout ms", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 3000},
			{"unsent bytes", unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 128 << 10},
			{"no delay", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		} {
			if got := option(t, c, o.level, o.name); got != o.want {
				t.Errorf("%s is %d, want %d", o.what, got, o.want)
			}
		}
	}
}

// Without the bound on unsent bytes a Write of 2.7 MB is finished at once, and
// its deadline says nothing about the network.
func TestAFinishedWriteWasTaken(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	cfg := at(proxy.URL())
	cfg.IOTimeout = patient
	target := mustOpen(t, cfg)
	mustPing(t, clientOf(t, target, Data))
	proxy.Limit(redistest.ToServer, 2<<20)
	c := sockets(t, target)[0]
	get := append([]byte("*2\r\n$3\r\nGET\r\n$3145728\r\n"), make([]byte, 3<<20)...)
	if err := c.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(get); err != nil {
		t.Fatal(err)
	}
	if q, ok := queueOf(c); !ok || q.unacked > 1<<20 {
		t.Errorf("%d bytes still wait in the kernel after Write has returned, want at most the bound and what is on its way", q.unacked)
	}
}

func TestActivityMovesWhileBytesGetThrough(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	cfg := at(proxy.URL())
	cfg.IOTimeout = patient
	target := mustOpen(t, cfg)
	c := clientOf(t, target, Data)
	mustPing(t, c)
	if a := target.Activity(); a.Stuck || a.Moving || a.LastRead.IsZero() || !a.ControlRead.IsZero() {
		t.Errorf("idle: %+v, want neither moving nor stuck, and the reply's time", a)
	}
	proxy.Limit(redistest.ToServer, 2<<20)
	var sending sync.WaitGroup
	sending.Go(func() {
		if err := c.Set(context.Background(), "big", make([]byte, 3<<20), 0).Err(); err != nil {
			t.Errorf("set: %v", err)
		}
	})
	still := 0
	for range 4 { // looks a fifth of a second apart, while it takes 1.5 s
		time.Sleep(200 * time.Millisecond)
		if a := target.Activity(); !a.Moving {
			t.Logf("sending: %+v", a)
			still++
		}
	}
	if still > 1 { // a busy machine may move nothing for that long
		t.Errorf("sending: %d of 4 looks saw nothing moving", still)
	}
	sending.Wait()
	if in, out := target.BytesIn(), target.BytesOut(); in == 0 || out < 3<<20 {
		t.Errorf("counted %d bytes in and %d out, want a few and more than %d", in, out, 3<<20)
	}
	eventually(t, "everything is acknowledged", func() bool { a := target.Activity(); return !a.Stuck && !a.Moving })
}

func TestActivityIsStuckInABlackHole(t *testing.T) {
	needRedis(t)
	t.Parallel()
	if err := redistest.NetHostAvailable(); err != nil {
		t.Skip(err)
	}
	host := redistest.NewNetHost(t)
	server := host.Start()
	cfg := at("redis://" + server.Addr() + "/0")
	cfg.IOTimeout = 2 * time.Second
	target := mustOpen(t, cfg)
	c := clientOf(t, target, Data)
	mustPing(t, c)
	host.Block(redistest.ToServer)
	began := time.Now()
	failed := make(chan error, 1)
	go func() { failed <- c.Ping(context.Background()).Err() }()
	eventually(t, "unacknowledged bytes show", func() bool { return target.Activity().Stuck })
	if a := target.Activity(); a.Moving {
		t.Errorf("%+v, want not moving: nothing is acknowledged", a)
	}
	err := <-failed
	if took := time.Since(began); took > 3*cfg.IOTimeout {
		t.Errorf("the command ended after %s, want about %s", took, cfg.IOTimeout)
	}
	if got := CauseOf(err); got != CauseFrozen && got != CauseBlackHole { // the deadline or TCP_USER_TIMEOUT, whoever is first
		t.Errorf("cause of %v is %q, want %q or %q", err, got, CauseFrozen, CauseBlackHole)
	}
}

// An idle connection into a black hole is ended by keepalive, without a probe.
func TestKeepaliveEndsAnIdleConnection(t *testing.T) {
	needRedis(t)
	t.Parallel()
	if err := redistest.NetHostAvailable(); err != nil {
		t.Skip(err)
	}
	host := redistest.NewNetHost(t)
	server := host.Start()
	cfg := at("redis://" + server.Addr() + "/0")
	cfg.IOTimeout = 2 * time.Second
	ps := client(t, cfg, Control).Subscribe(context.Background(), "requests")
	defer func() { _ = ps.Close() }()
	if _, err := ps.Receive(context.Background()); err != nil {
		t.Fatal(err)
	}
	host.Block(redistest.Both)
	began := time.Now()
	_, err := ps.Receive(context.Background()) // no deadline
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("a subscription in a black hole ended after %s, want about 3s", took)
	}
	if got := CauseOf(err); got != CauseBlackHole {
		t.Errorf("cause of %v is %q, want %q", err, got, CauseBlackHole)
	}
}
