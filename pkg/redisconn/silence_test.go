package redisconn

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sys/unix"

	"framekeeper/internal/testkit/redistest"
)

const big = 3 << 20 // a raw frame of 1280×720

// setup is a server that holds a big value, and a proxy in front of it.
func setup(t *testing.T) (*redistest.Server, *redistest.Proxy) {
	t.Helper()
	needRedis(t)
	server := redistest.Start(t)
	if err := server.Client().Set(context.Background(), "big", bytes.Repeat([]byte{'x'}, big), 0).Err(); err != nil {
		t.Fatal(err)
	}
	return server, redistest.NewProxy(t, server.Addr())
}

const shortIO = 400 * time.Millisecond

// mustPass tries what takes five timeouts and makes progress all the time, over
// a proxy of its own. A deadline for the whole of it would end it every time. A
// machine so busy that nothing moves for one timeout ends it too, as it should:
// then timeout and value become larger. The line stays as it is: on a slower
// one, what its buffers hold would take as much longer as the timeout is.
func mustPass(t *testing.T, server *redistest.Server, d redistest.Direction, rate int, try func(c *redis.Client, times int) error) {
	t.Helper()
	for times := 1; ; times *= 2 {
		proxy := redistest.NewProxy(t, server.Addr())
		cfg := at(proxy.URL())
		cfg.IOTimeout = shortIO * time.Duration(times)
		c := client(t, cfg, Data)
		mustPing(t, c)
		proxy.Limit(d, rate)
		err := try(c, times)
		switch {
		case err == nil:
			return
		case times > 8:
			t.Fatalf("what made progress all the time was cut: %v", err)
		}
		t.Logf("timeout and value %d times larger: %v", 2*times, err)
	}
}

func TestATricklingReplyIsNotCut(t *testing.T) {
	t.Parallel()
	server, proxy := setup(t)
	theirs := stock(t, proxy.Addr(), func(o *redis.Options) {
		o.ReadTimeout, o.WriteTimeout, o.MaxRetries = shortIO, shortIO, -1
	})
	mustPing(t, theirs)
	const rate = 3 << 20 / 2 // 2 s for the value: five timeouts
	proxy.Limit(redistest.ToClient, rate)
	ctx := context.Background()
	if err := theirs.Get(ctx, "big").Err(); err == nil {
		t.Error("a stock client waits for a slow reply too: this test shows nothing any more")
	}
	mustPass(t, server, redistest.ToClient, rate, func(ours *redis.Client, times int) error {
		if err := server.Client().Set(ctx, "big", bytes.Repeat([]byte{'x'}, times*big), 0).Err(); err != nil {
			t.Fatal(err)
		}
		got, err := ours.Get(ctx, "big").Bytes()
		if err == nil && len(got) != times*big {
			t.Errorf("got %d bytes, want %d", len(got), times*big)
		}
		return err
	})
}

func TestAStalledReplyIsCut(t *testing.T) {
	t.Parallel()
	_, proxy := setup(t)
	cfg := at(proxy.URL())
	cfg.IOTimeout = 5 * shortIO // a busy machine must not end it before the stall
	c := client(t, cfg, Data)
	mustPing(t, c)
	proxy.Limit(redistest.ToClient, 3<<20/2)
	before := proxy.Bytes(redistest.ToClient)
	got := make(chan error, 1)
	go func() { got <- c.Get(context.Background(), "big").Err() }()
	eventually(t, "the reply is half way", func() bool { return proxy.Bytes(redistest.ToClient) > before+big/4 })
	proxy.Stall(redistest.ToClient)
	stalled := time.Now()
	err := <-got
	if took := time.Since(stalled); err == nil || took > cfg.IOTimeout+3*time.Second || took < cfg.IOTimeout/2 {
		t.Errorf("Get returned %v %s after the stall, want an error after %s", err, took, cfg.IOTimeout)
	}
	if got := CauseOf(err); got != CauseFrozen {
		t.Errorf("cause of %v is %q, want %q", err, got, CauseFrozen)
	}
}

func TestALargeWriteOnASlowLinkIsNotCut(t *testing.T) {
	t.Parallel()
	server, proxy := setup(t)
	value := bytes.Repeat([]byte{'y'}, big/4)
	theirs := stock(t, proxy.Addr(), func(o *redis.Options) {
		o.ReadTimeout, o.WriteTimeout, o.MaxRetries = shortIO, shortIO, -1
	})
	mustPing(t, theirs)
	const rate = 400 << 10 // 2 s for the value, half of it still on its way when Write returns
	proxy.Limit(redistest.ToServer, rate)
	ctx := context.Background()
	if err := theirs.Set(ctx, "slow", value, 0).Err(); err == nil {
		t.Error("a stock client waits for a slow write too: this test shows nothing any more")
	}
	mustPass(t, server, redistest.ToServer, rate, func(ours *redis.Client, times int) error {
		return ours.Set(ctx, "slow", bytes.Repeat(value, times), 0).Err()
	})
}

// A server that stopped reading takes what its kernel can hold, then nothing.
func TestAWriteNobodyTakesIsCut(t *testing.T) {
	t.Parallel()
	server, proxy := setup(t)
	cfg := at(proxy.URL())
	cfg.IOTimeout = shortIO
	c := client(t, cfg, Data)
	mustPing(t, c)
	proxy.Limit(redistest.ToServer, 64<<20) // small buffers
	server.Freeze()
	began := time.Now()
	err := c.Set(context.Background(), "slow", bytes.Repeat([]byte{'y'}, 80<<20), 0).Err()
	if took := time.Since(began); err == nil || took > patient { // it takes a while until the kernels are full
		t.Errorf("Set returned %v after %s, want an error soon after %s", err, took, shortIO)
	}
}

// deafPeer accepts and never reads; its window is a few kilobytes.
func deafPeer(t *testing.T) net.Conn {
	t.Helper()
	conf := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) })
	}}
	l, err := conf.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Bytes that were acknowledged before the waiting began prove nothing about it:
// the timeout is one timeout, not two.
func TestUnacknowledgedBytesExcuseNothingByThemselves(t *testing.T) {
	t.Parallel()
	c := &conn{Conn: deafPeer(t), meter: newMeter()}
	limit := 600 * time.Millisecond
	if err := c.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(make([]byte, 60<<10)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "some bytes are acknowledged and some are not", func() bool {
		q, ok := queueOf(c.Conn)
		return ok && q.unacked > 0 && q.acked > 1
	})
	time.Sleep(50 * time.Millisecond) // until the peer's window is full; it never opens again
	began := time.Now()
	if err := c.SetReadDeadline(began.Add(limit)); err != nil {
		t.Fatal(err)
	}
	_, err := c.Read(make([]byte, 1))
	if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took > limit+3*time.Second {
		t.Errorf("Read returned %v after %s, want a timeout after %s", err, took, limit)
	}
}

// go-redis reckons deadlines by a wall clock it read a moment ago. One that was
// set since then must neither end a wait at once nor make it endless.
func TestSettingTheClockMovesNoDeadline(t *testing.T) {
	t.Parallel()
	const usual = 300 * time.Millisecond
	now := time.Now()
	for name, d := range map[string]struct {
		deadline time.Time
		want     time.Duration
	}{
		"none":                     {time.Time{}, 0},
		"ours":                     {now.Add(time.Hour), time.Hour},
		"ours, past":               {now.Add(-time.Hour), 1},
		"go-redis's":               {now.Round(0).Add(usual / 2), usual / 2},
		"go-redis's, set forwards": {now.Round(0).Add(-56 * 365 * 24 * time.Hour), usual},
		"go-redis's, set back":     {now.Round(0).Add(time.Hour), usual},
	} {
		c := &conn{Conn: deafPeer(t), meter: newMeter(), usual: usual}
		got := time.Duration(c.allowance(d.deadline))
		if got > d.want || got < d.want-usual/2 {
			t.Errorf("%s: got %v, want %v", name, got, d.want)
		}
	}
}
