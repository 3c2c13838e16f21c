package redisconn

import (
	"context"
	"fmt"
	"testing"
	"time"

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
