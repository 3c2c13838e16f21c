package datatransfer

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"framekeeper/pkg/redisconn"
)

// Accepts reports whether this Redis, and whatever is between, takes a command with
// an argument of size bytes. It publishes padding on a connection of its own, whose
// end does not end the session, and on a channel that nobody is subscribed to.
//
// true: the server answered, with anything that is not about the size. false: it
// refused the size or the connection ended, while a second connection, made before
// and unharmed after, still reaches this session's own subscription. So neither a
// restart nor a kill of all connections counts as a refusal. Whatever else happens
// (silence, ctx, an outage) is an error and says nothing about the size. There is
// no limit of time while bytes get through; the padding is in memory once.
func (s *Session) Accepts(ctx context.Context, size int64) (bool, error) {
	client := s.Client(1 << 10) // whose connections are not made anew
	defer func() { _ = client.Close() }()
	// A command that is on its way does not look at ctx.
	defer context.AfterFunc(ctx, func() { _ = client.Close() })()
	witness, padded := client.Conn(), client.Conn()
	defer func() { _, _ = witness.Close(), padded.Close() }()

	for _, c := range []*redis.Conn{witness, padded} { // what a greeting is refused with is no answer to the padding
		if err := s.reaches(ctx, c); err != nil {
			return false, fmt.Errorf("before padding: %w", err)
		}
	}
	err := padded.Publish(ctx, s.probe+"/padding", make([]byte, size)).Err()
	switch {
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case err == nil, redisconn.IsReply(err) && !redisconn.IsAboutSize(err):
		return true, nil
	case !redisconn.IsAboutSize(err) && redisconn.CauseOf(err) != redisconn.CauseClosed:
		return false, fmt.Errorf("publish %d bytes of padding: %w", size, err)
	}
	if err := s.reaches(ctx, witness); err != nil {
		return false, fmt.Errorf("after padding: %w", err)
	}
	return false, nil
}

// reaches proves with a small message that what is published on c arrives at this
// session's subscription: the server is the one that the session began with.
func (s *Session) reaches(ctx context.Context, c *redis.Conn) error {
	n, err := c.Publish(ctx, s.probe, "padding").Result()
	switch {
	case s.ctx.Err() != nil:
		return context.Cause(s.ctx)
	case err != nil:
		return fmt.Errorf("publish small probe: %w", err)
	case n == 0:
		return &redisconn.CauseError{Cause: redisconn.CauseWrongNode, Err: errNoReceiver}
	}
	return nil
}
