package redisconn

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// denials is a client's hook that calls a function with each command that the user
// may not send.
type denials func(command string, err error)

var _ redis.Hook = denials(nil)

func (d denials) DialHook(next redis.DialHook) redis.DialHook { return next }

func (d denials) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		d.look(cmd, err)
		return err
	}
}

func (d denials) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			d.look(cmd, cmd.Err())
		}
		return err
	}
}

func (d denials) look(cmd redis.Cmder, err error) {
	if err != nil && causeOfReply(err) == CausePermission {
		d(nameOf(cmd), err)
	}
}

// nameOf is a command's name in an ACL rule: xadd, xinfo|stream.
func nameOf(cmd redis.Cmder) string {
	name := cmd.Name()
	switch name {
	case "config", "memory", "xinfo", "xgroup":
		if args := cmd.Args(); len(args) > 1 {
			name = fmt.Sprintf("%s|%v", name, args[1])
		}
	}
	return strings.ToLower(name)
}
