package datatransfer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/hostile"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/redisconn"
)

// endless makes io_timeout no help: only a question finds what is lost.
func endless(url string) redisconn.Config {
	c := testkit.Fast(url)
	c.IOTimeout = 10 * testkit.Patience
	return c
}

// busy has bytes arrive all the time, as a camera at work does.
func busy(ctx context.Context, s *Session) error {
	conn := s.Data().Conn()
	defer func() { _ = conn.Close() }()
	for ctx.Err() == nil {
		if err := conn.Get(ctx, "none").Err(); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// An answer that was lost on the way, or a part of it, is noticed as soon as a frozen
// Redis is, though others come all the time.
func TestALostAnswerEndsTheSession(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for _, c := range []struct{ name, command, answer string }{
		{"all of it", "xlen", ""},
		{"all but its beginning", "xlen", ":"},
		{"the end of a line", "xlen", ":1"},
		{"a part of a value", "xlen", "$100\r\nabc"},
		{"more than the question's answer is long", "xlen", "$1000\r\nabc"},
		{"the rest of an array", "xread", "*1\r\n*2\r\n$4\r\nnone\r\n"},
		{"of a command that waits", "xread", ""},
		{"of the probe", "publish", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			middle := hostile.Start(t, redistest.Start(t).Addr())
			h := listen(t, endless(middle.URL()), func(l *LinkConfig) {
				l.Workers = []Worker{{Name: "busy", Run: busy}, {Name: "other", Run: func(ctx context.Context, s *Session) error {
					for ctx.Err() == nil {
						if err := s.Data().XLen(ctx, "none").Err(); err != nil {
							return err
						}
						if err := s.Data().XRead(ctx, &redis.XReadArgs{Streams: []string{"none", "$"}, Block: 10 * time.Millisecond}).Err(); !errors.Is(err, redis.Nil) {
							return err
						}
					}
					return nil
				}}}
			})
			h.waitLive(t)
			before := h.Status().Outages
			middle.Answer(c.command, c.answer)
			began := time.Now()
			testkit.Eventually(t, "the session ends", func() bool { return h.Status().Outages > before })
			took := time.Since(began)
			middle.Heal()
			got := h.Status().LastOutage
			if h.waitLive(t); got.Cause != redisconn.CauseProtocol || took > 8*time.Second {
				t.Errorf("noticed after %s as %q, want %q soon", took, got.Cause, redisconn.CauseProtocol)
			}
		})
	}
}

// Whatever takes long is waited for: a BLOCK, a Redis at other work, a command that is
// still on its way. The answers to the questions in between disturb nobody.
func TestASlowAnswerIsWaitedFor(t *testing.T) {
	testkit.NeedRedis(t)
	for name, options := range map[string][]redistest.Option{"plain": nil, "TLS": {redistest.WithTLS()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, options...)
			cfg := endless(server.URL())
			cfg.CheckTimeout = testkit.Patience // a busy machine, and a Redis that is
			if tls := server.TLS(); tls != nil {
				cfg.TLSCAFile = tls.CA
			}
			done := make(chan error, 1)
			h := listen(t, cfg, func(l *LinkConfig) {
				l.Workers = []Worker{{Name: "slow", Run: func(ctx context.Context, s *Session) error {
					done <- slowly(ctx, s)
					<-ctx.Done()
					return nil
				}}}
			})
			if err := <-done; err != nil {
				t.Error(err)
			}
			if s := h.Status(); s.Outages > 0 {
				t.Errorf("a slow answer was taken for a lost one: %s", s.Detail)
			}
			if n := echoes(t, server); n < 4 {
				t.Errorf("Redis was asked %d times, want that it was asked during each wait", n)
			}
		})
	}
}

// slowly has answers come late, and each time sees that the next ones are its own.
func slowly(ctx context.Context, s *Session) error {
	conn := s.Data().Conn()
	defer func() { _ = conn.Close() }()
	for i, slow := range []func() error{
		func() error {
			return conn.XRead(ctx, &redis.XReadArgs{Streams: []string{"none", "$"}, Block: 700 * time.Millisecond}).Err()
		},
		func() error { return conn.Do(ctx, "DEBUG", "SLEEP", "0.7").Err() },
		func() error { return conn.BLPop(ctx, time.Second, "none").Err() },
		func() error {
			return conn.XRead(ctx, &redis.XReadArgs{Streams: []string{"none", "$"}, Block: 700 * time.Millisecond}).Err()
		},
	} {
		if err := slow(); err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("slow command %d: %w", i, err)
		}
		for j := range 20 {
			want := strconv.Itoa(100*i + j)
			if err := conn.Set(ctx, "key", want, 0).Err(); err != nil {
				return err
			}
			if got, err := conn.Get(ctx, "key").Result(); got != want || err != nil {
				return fmt.Errorf("after slow command %d: got %q, %w, want %q", i, got, err, want)
			}
		}
	}
	return nil
}

// A large command that gets through a narrow line, with a buffer in between that
// acknowledges it, is on its way and not lost.
func TestALargeCommandOnASlowLineIsWaitedFor(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	cfg := endless(proxy.URL())
	cfg.CheckTimeout = testkit.Patience
	done := make(chan error, 1)
	h := listen(t, cfg, func(l *LinkConfig) {
		l.Workers = []Worker{{Name: "large", Run: func(ctx context.Context, s *Session) error {
			proxy.Limit(redistest.Both, 400<<10)
			done <- s.Data().Set(ctx, "large", make([]byte, 1<<20), 0).Err()
			<-ctx.Done()
			return nil
		}}}
	})
	if err := <-done; err != nil {
		t.Error(err)
	}
	if s := h.Status(); s.Outages > 0 {
		t.Errorf("what was on its way was taken for lost: %s", s.Detail)
	}
}

// Users of yesterday may not use ECHO: their links do without, and say so once.
func TestAUserWithoutEchoDoesWithout(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	secret := testkit.SecretFile(t, "secret")
	server := redistest.Start(t, redistest.WithACL("user box on >secret allkeys allchannels +@all -echo"))
	cfg := testkit.Unhurried(strings.Replace(server.URL(), "redis://", "redis://box@", 1))
	cfg.PasswordFile = secret
	h := listen(t, cfg, func(l *LinkConfig) {
		l.Workers = []Worker{{Name: "reader", Run: func(ctx context.Context, s *Session) error {
			for ctx.Err() == nil {
				err := s.Data().XRead(ctx, &redis.XReadArgs{Streams: []string{"none", "$"}, Block: 500 * time.Millisecond}).Err()
				if !errors.Is(err, redis.Nil) {
					return err
				}
			}
			return nil
		}}}
	})
	for sessions := uint64(1); sessions <= 2; sessions++ {
		testkit.Eventually(t, "another session", func() bool { s := h.Status(); return s.State == Live && s.Sessions == sessions })
		moved := h.Status().Moved.Add(time.Second)
		testkit.Eventually(t, "probes come back for a while", func() bool { return h.Status().Moved.After(moved) })
		if s := h.Session(); s != nil && sessions == 1 {
			s.Fail(os.ErrClosed)
		}
	}
	if n := strings.Count(h.log.String(), "ECHO"); n != 1 {
		t.Errorf("%d log lines name ECHO, want 1; log:\n%s", n, h.log)
	}
	if n := echoes(t, server); n != 0 {
		t.Errorf("Redis has answered ECHO %d times", n)
	}
}

// echoes is how many ECHOs the server has carried out.
func echoes(t *testing.T, server *redistest.Server) (n int) {
	t.Helper()
	stat := server.Info("commandstats")["cmdstat_echo"]
	calls, _, _ := strings.Cut(strings.TrimPrefix(stat, "calls="), ",")
	n, _ = strconv.Atoi(calls)
	return n
}
