package redistest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func needNetHost(t *testing.T) {
	t.Helper()
	if err := NetHostAvailable(); err != nil {
		t.Skip(err)
	}
}

// answers reports whether a server answers a PING on the client's connection.
func answers(t *testing.T, c *redis.Client, d time.Duration) error {
	t.Helper()
	return c.Ping(within(t, d)).Err()
}

func TestNetHostBlocks(t *testing.T) {
	needNetHost(t)
	for _, method := range []string{"nft", "neighbour"} {
		t.Run(method, func(t *testing.T) {
			var opts []NetHostOption
			if method == "neighbour" {
				opts = append(opts, WithNeighbourDrop())
			}
			h := NewNetHost(t, opts...)
			if method == "nft" && h.NFTAvailable() != nil {
				t.Skip(h.NFTAvailable())
			}
			if h.Method() != method {
				t.Fatalf("method is %s, want %s", h.Method(), method)
			}
			s := h.Start()
			o := s.ClientOptions()
			o.PoolSize = 1
			c := redis.NewClient(o)
			defer c.Close()
			for _, d := range []Direction{ToServer, ToClient, Both} {
				blockOneWay(t, h, s, c, d)
			}
		})
	}
}

// blockOneWay blocks d and checks that it is d, and only d, by what the server
// has done: with the way to it open, it obeys a command it cannot answer.
func blockOneWay(t *testing.T, h *NetHost, s *Server, c *redis.Client, d Direction) {
	t.Helper()
	if err := answers(t, c, 5*time.Second); err != nil {
		t.Fatalf("before the block: %v", err)
	}
	// A key for each: what is held up in one direction arrives after the heal.
	key := fmt.Sprintf("n%d", d)
	s.Do("SET", key, "0")
	h.Block(d)
	err := c.Incr(within(t, 300*time.Millisecond), key).Err()
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("direction %d blocked: command gave %v, want a time-out", d, err)
	}
	want := "0"
	if d == ToClient {
		want = "1"
	}
	if got := s.Do("GET", key); got != want {
		t.Errorf("direction %d blocked: the server has counted %v, want %s", d, got, want)
	}
	h.Heal()
	if err := answers(t, c, 5*time.Second); err != nil {
		t.Errorf("after the heal: %v", err)
	}
}

func TestNetHostRestartInside(t *testing.T) {
	needNetHost(t)
	h := NewNetHost(t)
	s := h.Start(WithPassword("pw"))
	s.Kill()
	s.Restart()
	if err := answers(t, s.Client(), 5*time.Second); err != nil {
		t.Error(err)
	}
	if s.AcceptedAt().IsZero() {
		t.Error("AcceptedAt is not set")
	}
}

func TestNetHostShapes(t *testing.T) {
	needNetHost(t)
	h := NewNetHost(t)
	s := h.Start()
	o := s.ClientOptions()
	o.ReadTimeout, o.WriteTimeout = 20*time.Second, 20*time.Second
	c := redis.NewClient(o)
	defer c.Close()
	timed := func(f func() error) time.Duration {
		begun := time.Now()
		if err := f(); err != nil {
			t.Fatal(err)
		}
		return time.Since(begun)
	}
	ping := func() error { return answers(t, c, 20*time.Second) }
	send := func() error { return c.Set(t.Context(), "key", make([]byte, 500_000), 0).Err() }
	timed(ping)
	if err := h.TBFAvailable(); err != nil {
		t.Log(err)
	} else {
		h.Shape(0, 500_000)
		if took := timed(send); took < 600*time.Millisecond {
			t.Errorf("500 kB took %v at 500 kB/s", took)
		}
		h.Shape(0, 0)
		if took := timed(send); took > 900*time.Millisecond {
			t.Errorf("500 kB took %v without a limit", took)
		}
	}
	if err := h.NetemAvailable(); err != nil {
		t.Log(err)
		return
	}
	h.Shape(100*time.Millisecond, 0)
	if took := timed(ping); took < 200*time.Millisecond {
		t.Errorf("a round trip took %v with 100 ms each way", took)
	}
	h.Shape(0, 0)
	if took := timed(ping); took > 100*time.Millisecond {
		t.Errorf("a round trip took %v without a delay", took)
	}
}

func TestNetHostIsRemoved(t *testing.T) {
	needNetHost(t)
	tb := &program{dir: t.TempDir()}
	h := NewNetHost(tb)
	s := h.Start()
	other := NewNetHost(tb)
	if h.IP() == other.IP() {
		t.Errorf("two hosts have the address %s", h.IP())
	}
	pid := s.Pid()
	tb.end()
	if procState(pid) != 0 {
		t.Errorf("the server inside, process %d, is still there", pid)
	}
	for _, host := range []*NetHost{h, other} {
		if _, err := os.Stat(netnsDir + "/" + host.name); err == nil {
			t.Errorf("namespace %s is still there", host.name)
		}
		if _, err := net.InterfaceByName(host.dev); err == nil {
			t.Errorf("interface %s is still there", host.dev)
		}
	}
}

func TestNamesOfOthersAreNotOurs(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "docker-1", "redistest", "redistest-1-2", "redistest-x-1-2", "redistest-1-2-y"} {
		if _, _, _, ok := parseNetNSName(name); ok {
			t.Errorf("%q is taken for one of our namespaces", name)
		}
	}
	pid := os.Getpid()
	gotPid, started, n, ok := parseNetNSName(netnsName(pid, 7))
	if !ok || gotPid != pid || n != 7 || started == "" || started != startTime(pid) {
		t.Errorf("our own name gives %d, %q, %d, %v", gotPid, started, n, ok)
	}
}
