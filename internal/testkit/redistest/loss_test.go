package redistest

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func awaitLoss(ctx context.Context, t *testing.T, lost <-chan struct{}) {
	t.Helper()
	select {
	case <-lost:
	case <-ctx.Done():
		t.Fatal("the reply was never lost")
	}
}

func TestProxyLosesReply(t *testing.T) {
	t.Parallel()
	s := Start(t)
	p := NewProxy(t, s.Addr())
	o := s.ClientOptions()
	o.Addr = p.Addr()
	c := redis.NewClient(o)
	defer c.Close()
	ctx := within(t, 20*time.Second)
	lost := p.LoseReplyAfter([]byte("MARK"))
	if err := c.Set(ctx, "before", "v", 0).Err(); err != nil {
		t.Fatalf("a request without the match: %v", err)
	}
	// The match comes first, with requests before it and 2 MB behind it: the
	// cut must wait for the whole request, not for the first reply.
	pipe := c.Pipeline()
	for range 50 {
		pipe.Incr(ctx, "n")
	}
	pipe.Set(ctx, "MARK", make([]byte, 2<<20), 0)
	if _, err := pipe.Exec(ctx); !errors.Is(err, io.EOF) {
		t.Errorf("request whose reply is lost: got %v, want EOF", err)
	}
	awaitLoss(ctx, t, lost)
	if n, size := s.Do("GET", "n"), s.Do("STRLEN", "MARK"); n != "50" || size != int64(2<<20) {
		t.Errorf("the server has n=%v and %v bytes, want 50 and all", n, size)
	}
	if err := c.Set(ctx, "MARK", "again", 0).Err(); err != nil {
		t.Errorf("the same request afterwards: %v", err)
	}
}

func TestProxyLosesReplyOfSubscription(t *testing.T) {
	t.Parallel()
	s := Start(t)
	p := NewProxy(t, s.Addr())
	o := s.ClientOptions()
	o.Addr = p.Addr()
	c := redis.NewClient(o)
	defer c.Close()
	ctx := within(t, 10*time.Second)
	sub := c.Subscribe(ctx, "ch")
	defer sub.Close()
	if _, err := sub.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s.Do("PUBLISH", "ch", "m")
		if _, err := sub.Receive(ctx); err != nil {
			t.Fatal(err)
		}
	}
	lost := p.LoseReplyAfter([]byte("MARK"))
	if err := sub.Subscribe(ctx, "MARK"); err != nil {
		t.Fatal(err)
	}
	if msg, err := sub.Receive(ctx); !errors.Is(err, io.EOF) {
		t.Errorf("Receive: got %v, %v, want EOF", msg, err)
	}
	awaitLoss(ctx, t, lost)
}

func TestMatchAcrossPieces(t *testing.T) {
	t.Parallel()
	var m memory
	if got := m.find([]byte("MARK"), []byte("xxMA")); got != -1 {
		t.Errorf("first half: got %d, want -1", got)
	}
	if got := m.find([]byte("MARK"), []byte("RKyy")); got != 2 {
		t.Errorf("second half: got %d, want 2", got)
	}
}
