package redisconn

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Quiet ends go-redis's own log lines: each of its troubles reaches us as an
// error, which is logged once and counted. Only main may call it, before the
// first client is made: the logger is the library's global.
func Quiet() { redis.SetLogger(noLog{}) }

type noLog struct{}

func (noLog) Printf(context.Context, string, ...any) {}
