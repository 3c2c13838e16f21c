package redisconn

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// idleAfter is how long a connection is without use before the next command looks
// whether it was ended meanwhile. An end that comes sooner, or during a command, is
// the caller's to know.
const idleAfter = time.Second

// errIdledOut refuses a command on a connection that the server, or something between,
// has ended because nobody used it. No byte of the command was sent.
var errIdledOut = &CauseError{Cause: CauseClosed, Err: errors.New("the connection was ended while nobody used it")}

// redialler is a client's hook that carries out on another of its connections what was
// refused with errIdledOut. That holds for a redis.Conn of the client too: from then on
// it uses the client's connections, one command after the other as before.
type redialler struct{ client *redis.Client }

var _ redis.Hook = redialler{}

func (r redialler) DialHook(next redis.DialHook) redis.DialHook { return next }

func (r redialler) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if errors.Is(err, errIdledOut) { // each time a connection less: the last one is new
			err = r.client.Process(ctx, cmd)
		}
		return err
	}
}

func (r redialler) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if !errors.Is(err, errIdledOut) {
			return err
		}
		pipe := r.client.Pipeline()
		if cmds[0].Name() == "multi" { // and EXEC at the end: a transaction brings its own
			pipe, cmds = r.client.TxPipeline(), cmds[1:len(cmds)-1]
		}
		for _, cmd := range cmds {
			_ = pipe.Process(ctx, cmd) // does not send it yet
		}
		_, err = pipe.Exec(ctx)
		return err
	}
}
