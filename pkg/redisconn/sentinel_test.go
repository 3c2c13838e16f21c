package redisconn

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"framekeeper/internal/testkit/hostile"
	"framekeeper/internal/testkit/redistest"
)

func TestSentinelsNameTheMaster(t *testing.T) {
	needRedis(t)
	t.Parallel()
	set := redistest.StartSentinel(t, 5*time.Second)
	nobody := fmt.Sprintf("127.0.0.1:%d", redistest.FreePort(t))
	hole := blackHole(t)
	with := func(name string, addrs ...string) Config {
		cfg := at("redis://127.0.0.1:1/0") // where no Redis is
		cfg.SentinelName, cfg.Sentinels, cfg.DialTimeout = name, addrs, 200*time.Millisecond
		return cfg
	}
	there := set.SentinelAddrs()
	for name, cfg := range map[string]Config{
		"all there":     with(set.Name(), there...),
		"first refuses": with(set.Name(), nobody, there[1]),
		"first is away": with(set.Name(), hole, there[1]),
	} {
		target := mustOpen(t, cfg)
		if target.Addr() != set.Master().Addr() {
			t.Errorf("%s: master is %s, want %s", name, target.Addr(), set.Master().Addr())
		}
		if target.Connected() {
			t.Errorf("%s: asking a Sentinel counts as being connected to the node", name)
		}
		mustPing(t, clientOf(t, target, Data))
	}
	for name, cfg := range map[string]Config{
		"unknown name": with("other", there...),
		"none there":   with(set.Name(), nobody, hole),
	} {
		_, err := Open(context.Background(), cfg)
		if CauseOf(err) != CauseSentinel {
			t.Errorf("%s: cause of %v is %q, want %q", name, err, CauseOf(err), CauseSentinel)
			continue
		}
		contains(t, err.Error(), cfg.SentinelName, cfg.Sentinels[len(cfg.Sentinels)-1])
	}
}

// A session that ends while a frozen Sentinel is asked must not wait for it.
func TestAskingASentinelEndsWithTheContext(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	server.Freeze()
	cfg := at("redis://127.0.0.1:1/0")
	cfg.SentinelName, cfg.Sentinels, cfg.CheckTimeout = "m", []string{server.Addr()}, 10*time.Second
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(200*time.Millisecond, cancel)
	began := time.Now()
	if _, err := Open(ctx, cfg); err == nil {
		t.Error("a frozen Sentinel named a master")
	}
	if took := time.Since(began); took > cfg.CheckTimeout/2 {
		t.Errorf("Open returned %s after its context had ended", took)
	}
}

// A Sentinel may be anything: it must not end the process.
func TestHostileSentinel(t *testing.T) {
	needRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	for _, command := range []string{"hello", "sentinel"} {
		for _, answer := range []string{
			"*0\r\n", "*1\r\n*0\r\n", "*2\r\n$-1\r\n:1\r\n", "$9223372036854775807\r\n", "*100000000\r\n", ":1\r\n", "%1\r\n*0\r\n:1\r\n", "|0\r\n", "\r\n",
			strings.Repeat("*1\r\n", 1<<16), "*2\r\n$2000000000\r\n", "*2\r\n$2000\r\n" + strings.Repeat("x", 2000) + "\r\n$4\r\n6379\r\n",
			"*2\r\n$1\r\na\r\n$5\r\n\x1b6379\r\n",
		} {
			middle := hostile.Start(t, server.Addr())
			middle.Answer("hello", "-ERR unknown command\r\n")
			middle.Answer(command, answer)
			cfg := at("redis://127.0.0.1:1/0")
			cfg.SentinelName, cfg.Sentinels, cfg.CheckTimeout = "mymaster", []string{middle.Addr()}, 200*time.Millisecond
			_, err := Open(context.Background(), cfg)
			if CauseOf(err) != CauseSentinel || len(err.Error()) > 1000 || middle.Answered() == 0 {
				t.Errorf("%s answered with %.40q: got %.1100v after %d answers, want a short error of a Sentinel", command, answer, err, middle.Answered())
			}
		}
	}
}
