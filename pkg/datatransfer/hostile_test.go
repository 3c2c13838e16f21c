package datatransfer

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/hostile"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/redisconn"
)

// everything uses the commands that the programs use, again and again.
func everything(ctx context.Context, s *Session) error {
	for c := s.Data(); ctx.Err() == nil; {
		conn := c.Conn()
		for _, call := range []func() error{
			func() error { return c.Ping(ctx).Err() },
			func() error { return c.Get(ctx, "none").Err() },
			func() error { return c.Set(ctx, "some", "value", 0).Err() },
			func() error { return c.XRevRangeN(ctx, "none", "+", "-", 1).Err() },
			func() error {
				return conn.XRead(ctx, &redis.XReadArgs{Streams: []string{"none", "0"}, Block: -1}).Err()
			},
			func() error {
				return conn.XAdd(ctx, &redis.XAddArgs{Stream: "some-stream", Values: []any{"a", "b"}}).Err()
			},
			func() error { return c.Do(ctx, "ROLE").Err() },
			func() error { return c.Info(ctx, "memory").Err() },
			func() error {
				_, err := conn.TxPipelined(ctx, func(p redis.Pipeliner) error {
					p.XLen(ctx, "none")
					p.Get(ctx, "some")
					return nil
				})
				return err
			},
		} {
			if err := call(); err != nil && (redisconn.EndsSession(err) || !redisconn.IsReply(err)) {
				_ = conn.Close()
				return err
			}
		}
		_ = conn.Close()
		time.Sleep(time.Millisecond)
	}
	return nil
}

// Whatever a server answers to whatever command, the process goes on, memory and log
// stay small, and the link is LIVE again as soon as the server works.
func TestHostileAnswers(t *testing.T) {
	testkit.NeedRedis(t)
	middle := hostile.Start(t, redistest.Start(t).Addr())
	h := listen(t, testkit.Fast(middle.URL()), func(c *LinkConfig) {
		c.MaxMessage, c.MaxReply = 1<<20, 1<<20
		c.Workers = []Worker{{Name: "everything", Run: everything}}
	})
	h.waitLive(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, command := range []string{
		"connect", "hello", "subscribe", "publish", "ping", "get", "set", "xrevrange", "xread", "xadd", "role", "info", "multi", "exec", "xlen", "push",
	} {
		sent := hostile.Attacks()
		switch command {
		case "push", "subscribe":
			sent = hostile.Pushes()
		case "ping", "set", "role", "info", "xlen", "xadd", "multi":
			sent = sent[:9]
		}
		for _, attack := range sent {
			answered := middle.Answered()
			if command == "push" {
				middle.Push(attack.Bytes)
			} else {
				middle.Answer(command, attack.Bytes)
				if command == "connect" || command == "hello" || command == "subscribe" {
					if s := h.Session(); s != nil {
						s.Fail(fmt.Errorf("begin anew for %q", command))
					}
				}
			}
			testkit.Eventually(t, fmt.Sprintf("%s is answered with %.40q", command, attack.Bytes), func() bool { return middle.Answered() > answered })
			middle.Heal()
			h.waitLive(t)
		}
	}
	runtime.ReadMemStats(&after)
	if took := after.Sys - before.Sys; after.Sys > before.Sys && took > 100<<20 {
		t.Errorf("the attacks took %d MiB of memory", took>>20)
	}
	for line := range strings.Lines(h.log.String()) {
		if len(line) > 4096 || strings.Contains(line, "\x1b") {
			t.Errorf("a log line of %d bytes: %.400s", len(line), line)
		}
	}
	if out := h.log.String(); !strings.Contains(out, `"cause":"protocol"`) || !strings.Contains(out, "panicked") || !strings.Contains(out, "the server has last sent") {
		t.Error("no log line has the cause and the bytes that had the library panic")
	}
}
