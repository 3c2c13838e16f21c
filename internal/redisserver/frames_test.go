package redisserver

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/pkg/redisconn"
)

const raw4K = 3840 * 2160 * 3

// subscriber is a connection that gets a channel's messages, and reads them when it is
// asked to.
type subscriber struct {
	net.Conn
	in *bufio.Reader
}

func subscribe(t *testing.T, cfg redisconn.Config) *subscriber {
	t.Helper()
	e, err := endpointOf(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", e.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s := &subscriber{conn, bufio.NewReader(conn)}
	if _, err := conn.Write([]byte("SUBSCRIBE stream/cam\r\n")); err != nil {
		t.Fatal(err)
	}
	for range 6 { // *3, and two strings and a number
		if _, err := s.in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// read takes a message and yields its size.
func (s *subscriber) read() (size int64, err error) {
	_ = s.SetReadDeadline(time.Now().Add(20 * time.Second))
	for range 5 { // *3, and two strings
		if _, err := s.in.ReadString('\n'); err != nil {
			return 0, err
		}
	}
	line, err := s.in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	if _, err := fmt.Sscanf(line, "$%d", &size); err != nil {
		return 0, fmt.Errorf("%q: %w", line, err)
	}
	n, err := io.CopyN(io.Discard, s.in, size+2)
	return n - 2, err
}

func serve4K(t *testing.T) (*redis.Client, *scene, redisconn.Config) {
	t.Helper()
	cfg := freeURL(t, "127.0.0.1")
	s := begin(t, Options{Redis: cfg, Memory: MemoryFor(64<<20, raw4K), Frame: raw4K})
	s.awaitRunning()
	return client(t, cfg), s, cfg
}

// entries is how many fit into the stream.
const entries = 64 << 20 / raw4K

func add(t *testing.T, c *redis.Client, image string) error {
	t.Helper()
	return c.XAdd(t.Context(), &redis.XAddArgs{Stream: "frames:cam", MaxLen: entries, Approx: true, Values: []any{"image", image}}).Err()
}

// Raw 4K frames fit: with the stream at its bound, a frame is added and published at
// the same time, two subscribers get it, and a reader reads the newest now and then.
func TestLargestFramesFit(t *testing.T) {
	const requests = 60
	c, s, cfg := serve4K(t)
	image := strings.Repeat("x", raw4K)
	var readers sync.WaitGroup
	for range 2 {
		sub := subscribe(t, cfg)
		readers.Go(func() {
			for i := range requests {
				if n, err := sub.read(); err != nil || n != raw4K {
					t.Errorf("message %d: got %d bytes, %v", i, n, err)
					return
				}
			}
		})
	}
	refused := 0
	for i := range requests {
		var done sync.WaitGroup
		done.Go(func() {
			if n, err := c.Publish(t.Context(), "stream/cam", image).Result(); err != nil || n != 2 {
				t.Errorf("publish %d: reached %d, %v, want 2", i, n, err)
			}
		})
		if i%4 == 0 {
			done.Go(func() {
				if err := c.XRevRangeN(t.Context(), "frames:cam", "+", "-", 1).Err(); err != nil {
					t.Errorf("read %d: %v", i, err)
				}
			})
		}
		if err := add(t, c, image); err != nil {
			refused++
			t.Logf("add %d: %v", i, err)
		}
		done.Wait()
	}
	readers.Wait()
	info, err := c.Info(t.Context(), "memory").Result()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(info) {
		if strings.HasPrefix(line, "used_memory_peak:") {
			t.Logf("%s of %d", strings.TrimSpace(line), s.server.opt.Memory)
		}
	}
	if refused > 0 {
		t.Errorf("%d of %d were refused, want none", refused, requests)
	}
}

// Two subscribers that do not read for a while still get two of the largest frames
// each, and the stream takes frames meanwhile; what waits is bounded all the same.
func TestLargestFramesWaitForSubscribers(t *testing.T) {
	c, _, cfg := serve4K(t)
	subs := []*subscriber{subscribe(t, cfg), subscribe(t, cfg)}
	image := strings.Repeat("x", raw4K)
	publish := func(want int64) {
		t.Helper()
		if n, err := c.Publish(t.Context(), "stream/cam", image).Result(); err != nil || n != want {
			t.Errorf("publish: reached %d, %v, want %d", n, err, want)
		}
	}
	publish(2)
	publish(2)
	for i := range 2 * (entries + 1) {
		if err := add(t, c, image); err != nil {
			t.Errorf("add %d: %v", i, err)
		}
	}
	for i := range 4 {
		if n, err := subs[i%2].read(); err != nil || n != raw4K {
			t.Fatalf("message %d: got %d bytes, %v", i, n, err)
		}
	}
	for range 4 {
		_ = c.Publish(t.Context(), "stream/cam", image).Err() // they may be cut by now
	}
	publish(0)
	for i, sub := range subs {
		n := 0
		for _, err := sub.read(); err == nil; _, err = sub.read() {
			n++
		}
		if n > 3 {
			t.Errorf("subscriber %d got %d messages, want it cut before", i, n)
		}
	}
}
