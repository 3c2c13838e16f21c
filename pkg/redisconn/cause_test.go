package redisconn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/testkit/redistest"
)

// verdict is what an error must mean.
type verdict struct {
	cause Cause
	reply bool // an answer of Redis
	ends  bool // the session, when a write meets it
}

func judge(t *testing.T, name string, err error, want verdict) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error was provoked", name)
		return
	}
	err = fmt.Errorf("add frame: %w", err) // as it reaches those who ask
	if got := (verdict{CauseOf(err), IsReply(err), EndsSession(err)}); got != want {
		t.Errorf("%s: %v means %+v, want %+v", name, err, got, want)
	}
}

func TestCausesOfConnecting(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t, redistest.WithPassword("secret"))
	closed := redistest.NewProxy(t, fmt.Sprintf("127.0.0.1:%d", redistest.FreePort(t))) // resets at once
	try := func(url string, change func(*Config)) error {
		cfg := at(url)
		cfg.DialTimeout, cfg.IOTimeout = 300*time.Millisecond, 300*time.Millisecond
		if change != nil {
			change(&cfg)
		}
		return refusal(t, cfg)
	}
	for name, c := range map[string]struct {
		err  error
		want verdict
	}{
		"refused":     {try(fmt.Sprintf("redis://127.0.0.1:%d", redistest.FreePort(t)), nil), verdict{CauseRefused, false, true}},
		"timed out":   {try("redis://"+blackHole(t), nil), verdict{CauseTimeout, false, true}},
		"unreachable": {try("redis://224.0.0.1:6379", nil), verdict{CauseUnreachable, false, true}},
		"dns":         {try("redis://no-such-host.invalid", nil), verdict{CauseDNS, false, true}},
		"reset":       {try(closed.URL(), nil), verdict{CauseClosed, false, true}},
		"no password": {try("redis://"+server.Addr(), nil), verdict{CausePassword, true, true}},
		"wrong password": {try("redis://"+server.Addr(), func(c *Config) { c.PasswordFile = write(t, "guess") }),
			verdict{CausePassword, true, true}},
		"wrong user": {try("redis://nobody@"+server.Addr(), func(c *Config) { c.PasswordFile = write(t, "secret") }),
			verdict{CausePassword, true, true}},
		"no password file": {try("redis://"+server.Addr(), func(c *Config) { c.PasswordFile = "/absent" }),
			verdict{CauseConfig, false, true}},
		"password nobody wants": {try("redis://"+redistest.Start(t).Addr(), func(c *Config) { c.PasswordFile = write(t, "x") }), verdict{}},
	} {
		if c.want == (verdict{}) {
			// Redis 6 and later knows a default user without a password: any is right.
			if c.err != nil {
				judge(t, name, c.err, verdict{CausePassword, true, true})
			}
			continue
		}
		judge(t, name, c.err, c.want)
	}
}

func TestCausesOfRefusedWrites(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t, redistest.WithRDB(), redistest.WithACL("user bob on >secret ~frames:* &probe/* +@all -flushall"))
	cfg := at("redis://bob@" + server.Addr())
	cfg.PasswordFile = write(t, "secret")
	c, ctx := client(t, cfg, Data), context.Background()
	if err := c.XAdd(ctx, &redis.XAddArgs{Stream: "frames:a", ID: "5-5", Values: []any{"k", "v"}}).Err(); err != nil {
		t.Fatal(err)
	}
	add := func() error {
		return c.XAdd(ctx, &redis.XAddArgs{Stream: "frames:a", Values: []any{"k", "v"}}).Err()
	}
	judge(t, "command", c.FlushAll(ctx).Err(), verdict{CausePermission, true, false})
	judge(t, "key", c.Get(ctx, "other").Err(), verdict{CausePermission, true, false})
	judge(t, "channel", c.Publish(ctx, "other", "").Err(), verdict{CausePermission, true, false})
	judge(t, "wrong type", c.Get(ctx, "frames:a").Err(), verdict{CauseServer, true, false})
	judge(t, "smaller ID", c.XAdd(ctx, &redis.XAddArgs{Stream: "frames:a", ID: "5-5", Values: []any{"k", "v"}}).Err(),
		verdict{CauseServer, true, false})
	judge(t, "no stream", c.XAdd(ctx, &redis.XAddArgs{Stream: "frames:b", NoMkStream: true, Values: []any{"k", "v"}}).Err(),
		verdict{CauseOther, true, false}) // nil: the caller knows what it means

	server.ConfigSet("maxmemory", "1")
	judge(t, "OOM", add(), verdict{CauseOOM, true, false})
	server.ConfigSet("maxmemory", "0")

	server.ConfigSet("min-replicas-to-write", "1")
	judge(t, "too few replicas", add(), verdict{CauseReplicas, true, false})
	server.ConfigSet("min-replicas-to-write", "0")

	dir := server.Do("CONFIG", "GET", "dir").([]any)[1].(string)
	file := server.Do("CONFIG", "GET", "dbfilename").([]any)[1].(string)
	if err := os.MkdirAll(filepath.Join(dir, file, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	server.Do("BGSAVE")
	eventually(t, "saving fails", func() bool { return server.Info("persistence")["rdb_last_bgsave_status"] == "err" })
	judge(t, "misconf", add(), verdict{CauseMisconf, true, false})
	server.ConfigSet("save", "")

	server.Do("REPLICAOF", "127.0.0.1", fmt.Sprint(redistest.FreePort(t)))
	judge(t, "replica", add(), verdict{CauseReadOnly, true, true})
	server.ConfigSet("replica-serve-stale-data", "no")
	judge(t, "master down", add(), verdict{CauseReadOnly, true, true})
}

func TestCauseOfABlockedReadOnANewReplica(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	c := client(t, at(server.URL()), Data)
	got := make(chan error, 1)
	go func() { got <- c.BLPop(context.Background(), 10*time.Second, "empty").Err() }()
	eventually(t, "the read blocks", func() bool { return server.Info("clients")["blocked_clients"] == "1" })
	server.Do("REPLICAOF", "127.0.0.1", fmt.Sprint(redistest.FreePort(t)))
	judge(t, "unblocked", <-got, verdict{CauseReadOnly, true, true})
}

func TestCauseLoading(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t, redistest.WithRDB(), redistest.WithSlowLoading(5*time.Millisecond))
	ctx := context.Background()
	pipe := server.Client().Pipeline()
	for i := range 400 {
		pipe.Set(ctx, fmt.Sprint("key", i), "value", 0)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	server.Restart()
	cfg := at(server.URL())
	cfg.IOTimeout = patient // between two keys it answers nobody
	judge(t, "loading", client(t, cfg, Data).Set(ctx, "key", "value", 0).Err(), verdict{CauseLoading, true, true})
}

func TestCausesOfWhatCannotBeProvoked(t *testing.T) {
	t.Parallel()
	dial := func(err error) error {
		return &DialError{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", err)}}
	}
	read := func(err error) error { return &net.OpError{Op: "read", Err: os.NewSyscallError("read", err)} }
	for name, c := range map[string]struct {
		err  error
		want verdict
	}{
		"no route":             {dial(syscall.EHOSTUNREACH), verdict{CauseUnreachable, false, true}},
		"network down":         {dial(syscall.ENETDOWN), verdict{CauseUnreachable, false, true}},
		"kernel's own timeout": {dial(syscall.ETIMEDOUT), verdict{CauseTimeout, false, true}},
		"user timeout":         {read(syscall.ETIMEDOUT), verdict{CauseBlackHole, false, true}},
		"host gone since":      {read(syscall.EHOSTUNREACH), verdict{CauseUnreachable, false, true}},
		"pipe":                 {read(syscall.EPIPE), verdict{CauseClosed, false, true}},
		"end":                  {io.EOF, verdict{CauseClosed, false, true}},
		"client closed":        {redis.ErrClosed, verdict{CauseClosed, false, true}},
		"silence":              {os.ErrDeadlineExceeded, verdict{CauseFrozen, false, true}},
		"given":                {&CauseError{CauseWrongNode, io.EOF}, verdict{CauseWrongNode, false, true}},
		"alert":                {&net.OpError{Op: "remote error", Err: tls.AlertError(116)}, verdict{CauseTLS, false, true}},
		"sentinel":             {&SentinelError{redis.Nil}, verdict{CauseSentinel, true, false}},
		"sentinel timed out":   {&SentinelError{dial(syscall.ETIMEDOUT)}, verdict{CauseSentinel, false, true}},
		"cancelled":            {context.Canceled, verdict{CauseOther, false, true}},
	} {
		judge(t, name, c.err, c.want)
	}
	if got := CauseOf(nil); got != CauseNone || EndsSession(nil) || IsReply(nil) {
		t.Errorf("no error means %q, want nothing", got)
	}
}

func TestEveryCauseHasAdvice(t *testing.T) {
	t.Parallel()
	for _, c := range []Cause{
		CauseRefused, CauseTimeout, CauseUnreachable, CauseDNS, CauseFrozen, CauseBlackHole, CauseClosed, CausePermission,
		CausePassword, CauseLoading, CauseReadOnly, CauseReplicas, CauseWrongNode, CauseOOM, CauseTLS, CauseSentinel, CauseConfig,
		CauseMisconf, CauseServer, CauseProtocol, CauseClients, CauseProtected, CauseCluster, CauseOld, CauseOther,
	} {
		if a := c.Advice(); a == "" || strings.HasSuffix(a, ".") || len(a) > 120 {
			t.Errorf("advice for %q is %q, want one short sentence without a full stop", c, a)
		}
	}
	if len(advice) != 25 {
		t.Errorf("%d causes have advice, want the 25 of this test: add the new one above", len(advice))
	}
	if a := CauseNone.Advice(); a != "" {
		t.Errorf("advice for nothing is %q", a)
	}
}

var errAny = errors.New("any")

func TestErrorsKeepTheirReason(t *testing.T) {
	t.Parallel()
	for _, err := range []error{&DialError{errAny}, &TLSError{errAny}, &SentinelError{errAny}, &ConfigError{errAny}, &CauseError{CauseOther, errAny}} {
		if !errors.Is(err, errAny) || !strings.Contains(err.Error(), "any") {
			t.Errorf("%T says %q and unwraps to %v, want its reason in both", err, err, errors.Unwrap(err))
		}
	}
}

type reply string

func (e reply) Error() string { return string(e) }
func (reply) RedisError()     {}

func TestWhatIsAboutTheSize(t *testing.T) {
	for err, want := range map[error]bool{
		reply("ERR Protocol error: invalid bulk length"):   true,
		reply("ERR max request size exceeded"):             true,
		reply("NOPERM no permissions to access a channel"): false,
		reply("OOM command not allowed"):                   false,
		io.EOF:                                             false,
		nil:                                                false,
	} {
		if got := IsAboutSize(err); got != want {
			t.Errorf("IsAboutSize(%v) = %v", err, got)
		}
	}
	judge(t, "protocol error", reply("ERR Protocol error: invalid bulk length"), verdict{CauseClosed, true, true})
	judge(t, "max request size", reply("ERR max request size exceeded"), verdict{CauseServer, true, false})
}
