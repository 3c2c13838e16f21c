package redisconn

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// lastReply is the connection on which a reply has last begun. The zero value has none.
type lastReply struct{ atomic.Pointer[guard] }

// Guarded calls f, which calls the Redis client library. A panic of the library, on
// what a server has sent, is an error of the connection.
func (l *lastReply) guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			shown := "nothing yet"
			if g := l.Load(); g != nil {
				shown = g.shown()
			}
			err = &CauseError{CauseProtocol, fmt.Errorf("the Redis client library panicked (%.200v); the server has last sent %s", r, shown)}
		}
	}()
	return f()
}

// catcher is a client's hook that makes an error of a panic.
type catcher struct{ last *lastReply }

var _ redis.Hook = catcher{}

func (c catcher) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c catcher) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		return c.last.guarded(func() error { return next(ctx, cmd) })
	}
}

func (c catcher) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		returned := false
		err := c.last.guarded(func() error {
			err := next(ctx, cmds)
			returned = true
			return err
		})
		if !returned { // no command's own answer is to be trusted
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
		}
		return err
	}
}

// guardedDialer has limits on what comes on its connections.
func guardedDialer(dial dialFunc, role Role, last *lastReply, longest int64, tooLarge func(size, limit int64)) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		g := &guard{Conn: c, longest: longest, deep: 1, latest: last.Store, alone: role == Data, tooLarge: func(size, limit int64) {
			if tooLarge != nil {
				tooLarge(size, limit)
			}
		}}
		if role == Data {
			g.deep = imageDepth
		}
		return g, nil
	}
}

// NewClient is redis.NewClient for what is no Target's, with the same protection: no
// value of more than longest bytes comes whole, and a panic is an error.
func NewClient(o *redis.Options, longest int64) *redis.Client {
	last := &lastReply{}
	d := net.Dialer{Timeout: o.DialTimeout}
	o.Dialer = guardedDialer(d.DialContext, Data, last, longest, nil)
	c := redis.NewClient(o)
	c.AddHook(catcher{last})
	return c
}
