package datatransfer

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/hostile"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/redisconn"
)

const noHello = "-ERR unknown command `HELLO`, with args beginning with: `2`, \r\n"

// What a server says before it ends the connection is the reason that is shown.
func TestLastWordsAreTheCause(t *testing.T) {
	testkit.NeedRedis(t)
	server := redistest.Start(t)
	for _, c := range []struct {
		greeting, shown string
		cause           redisconn.Cause
	}{
		{"-ERR max number of clients reached\r\n", "max number of clients", redisconn.CauseClients},
		{"-ERR max number of clients + cluster connections reached\r\n", "cluster connections", redisconn.CauseClients},
		{"-DENIED Redis is running in protected mode because protected mode is enabled and no password is set\r\n", "protected mode", redisconn.CauseProtected},
		{"-NOAUTH Authentication required.\r\n", "Authentication required", redisconn.CausePassword},
		{"-ERR Protocol error: too big mbulk count string\r\n", "too big mbulk", redisconn.CauseClosed},
		{"-ERR proxy: too many connections\r\n", "proxy: too many connections", redisconn.CauseServer},
		{"", "EOF", redisconn.CauseClosed},
	} {
		middle := hostile.Start(t, server.Addr())
		middle.Answer("connect", c.greeting)
		h := listen(t, testkit.Fast(middle.URL()))
		if s := h.waitCause(t, c.cause); !strings.Contains(s.Detail, c.shown) && c.greeting != "" {
			t.Errorf("after %q: the reason is %q, want %q in it", c.greeting, s.Detail, c.shown)
		}
		middle.Heal()
		h.waitLive(t)
		h.stop()
	}
}

func TestARealServerWithTooManyClients(t *testing.T) {
	testkit.NeedRedis(t)
	server := redistest.Start(t)
	h := listen(t, testkit.Fast(server.URL()))
	h.waitLive(t)
	var held []net.Conn
	for range 4 {
		c, err := net.Dial("tcp", server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	server.ConfigSet("maxclients", "2")
	h.Session().Fail(errors.New("begin anew"))
	h.waitCause(t, redisconn.CauseClients)
	for _, c := range held {
		_ = c.Close()
	}
	h.waitLive(t)
}

// An error long answered is not why a connection ends later.
func TestAnErrorThatWasAnsweredIsNoLastWord(t *testing.T) {
	testkit.NeedRedis(t)
	middle := hostile.Start(t, redistest.Start(t).Addr())
	refused := make(chan struct{})
	h := listen(t, testkit.Fast(middle.URL()), func(c *LinkConfig) {
		c.Workers = []Worker{{Name: "refused", Run: func(ctx context.Context, s *Session) error {
			conn := s.Data().Conn()
			defer func() { _ = conn.Close() }()
			if err := conn.Set(ctx, "a", "b", 0).Err(); err != nil {
				return err
			}
			if err := conn.XLen(ctx, "a").Err(); !redis.HasErrorPrefix(err, "WRONGTYPE") {
				return err
			}
			select {
			case refused <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			return conn.BLPop(ctx, 0, "never").Err()
		}}}
	})
	<-refused
	middle.CutAll()
	h.waitCause(t, redisconn.CauseClosed)
	<-refused
}

// A node of a Cluster, and a Redis that lacks commands, are refused by name, before
// the link is LIVE where they say what they are.
func TestServersThatAreNotSupported(t *testing.T) {
	testkit.NeedRedis(t)
	plain := redistest.Start(t)
	cluster := redistest.Start(t, redistest.WithConfig("cluster-enabled", "yes"))
	version := func(v string) string {
		return "*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n" + v + "\r\n$5\r\nproto\r\n:2\r\n$2\r\nid\r\n:7\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n"
	}
	for _, c := range []struct {
		name, target   string
		command, reply string // of the man in the middle
		cause          redisconn.Cause
		shown          string
	}{
		{"a Cluster", cluster.Addr(), "", "", redisconn.CauseCluster, "Cluster"},
		{"a Cluster behind a proxy", cluster.Addr(), "hello", noHello, redisconn.CauseCluster, "CLUSTERDOWN"},
		{"a Cluster's other node", plain.Addr(), "get", "-MOVED 1 127.0.0.1:7000\r\n", redisconn.CauseCluster, "MOVED"},
		{"Redis 6.0", plain.Addr(), "hello", version("6.0.16"), redisconn.CauseOld, "6.2"},
		{"Redis 5 behind a proxy", plain.Addr(), "xadd", "-ERR Invalid stream ID specified as stream command argument\r\n", redisconn.CauseOld, "Invalid stream ID"},
		{"Redis 6.2", plain.Addr(), "hello", version("6.2.20"), "", ""},
	} {
		middle := hostile.Start(t, c.target)
		if c.command != "" {
			middle.Answer(c.command, c.reply)
		}
		h := listen(t, testkit.Fast(middle.URL()), func(l *LinkConfig) { l.Admit = everythingOnce })
		if c.cause == "" {
			h.waitLive(t)
			continue
		}
		s := h.waitCause(t, c.cause)
		if !strings.Contains(s.Detail, c.shown) || s.Sessions > 0 || c.cause == redisconn.CauseOld && !strings.Contains(s.Detail+c.cause.Advice(), "6.2") {
			t.Errorf("%s: got %q and %d sessions LIVE, want %q and none", c.name, s.Detail, s.Sessions, c.shown)
		}
		h.stop()
	}
}

// everythingOnce uses commands with keys, as an agent does before it is LIVE.
func everythingOnce(ctx context.Context, s *Session) error {
	if err := s.Data().Get(ctx, "some").Err(); redisconn.EndsSession(err) {
		return err
	}
	err := s.Data().XAdd(ctx, &redis.XAddArgs{Stream: "some-stream", NoMkStream: true, ID: "1-1", Values: []any{"a", "b"}}).Err()
	if redisconn.EndsSession(err) {
		return err
	}
	return nil
}
