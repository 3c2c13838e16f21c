package redisconn

import (
	"context"
	"fmt"
	"net"

	"github.com/redis/go-redis/v9"
)

// askSentinels asks each Sentinel in turn for the master's address. Asked anew
// for every session: go-redis's failover client keeps a subscription to the
// Sentinels of its own, and stayed on a frozen master.
func (t *Target) askSentinels(ctx context.Context) (string, error) {
	var last error
	for _, addr := range t.cfg.Sentinels {
		master, err := t.askSentinel(ctx, addr)
		if err == nil {
			return master, nil
		}
		last = fmt.Errorf("%s: %w", addr, err)
		if ctx.Err() != nil {
			break
		}
	}
	return "", &SentinelError{fmt.Errorf("ask for master %q: %w", t.cfg.SentinelName, last)}
}

// maxAddress is how many bytes a host name may have in an answer.
const maxAddress = 1 << 10

func (t *Target) askSentinel(ctx context.Context, addr string) (string, error) {
	limit := t.cfg.DialTimeout + t.cfg.CheckTimeout
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c := redis.NewSentinelClient(&redis.Options{
		Network: "tcp", Addr: addr, Dialer: t.dialer(Data, maxAddress, t.cfg.DialTimeout, false),
		MaxRetries: -1, DialerRetries: 1, PoolSize: 1, Protocol: 2, DisableIdentity: true,
		DialTimeout: t.cfg.DialTimeout, ReadTimeout: t.cfg.CheckTimeout, WriteTimeout: t.cfg.CheckTimeout,
		ContextTimeoutEnabled: true,
	})
	c.AddHook(catcher{&t.last})
	defer func() { _ = c.Close() }()
	pair, err := c.GetMasterAddrByName(ctx, t.cfg.SentinelName).Result()
	if err != nil {
		return "", err
	}
	if len(pair) != 2 {
		return "", fmt.Errorf("answered %d fields, expected host and port", len(pair))
	}
	if pair[0] == "" || !isPort(pair[1]) { // a host that is too long comes as an empty one
		return "", fmt.Errorf("answered host %.80q and port %.80q", pair[0], pair[1])
	}
	return net.JoinHostPort(pair[0], pair[1]), nil
}
