package datatransfer

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"framekeeper/pkg/redisconn"
)

// Accepts reports whether this Redis, and whatever is between, takes a command with
// an argument of size bytes. It publishes padding on a connection of its own, whose
// end does not end the session, and on a channel that nobody is subscribed to.
//
// true: the server answered, with anything that is not about the size. false: it
// refused the size, or twice the connection ended while another one, made before
// and unharmed after, still reached this session's own subscription. So neither a
// restart nor a kill of all connections counts as a refusal: one of them may be seen
// to end a moment before the others do, and twice it is not. Whatever else happens
// (silence, ctx, an outage) is an error and says nothing about the size. There is
// no limit of time while bytes get through; the padding is in memory once.
func (s *Session) Accepts(ctx context.Context, size int64) (bool, error) {
	padding := make([]byte, size)
	refused, err := s.pad(ctx, padding)
	if errors.Is(refused, errEndedByPadding) && err == nil {
		refused, err = s.pad(ctx, padding)
	}
	return refused == nil && err == nil, err
}

// errEndedByPadding is the refusal that is not said in words.
var errEndedByPadding = errors.New("the connection ended with the padding, and the other did not")

// pad publishes padding once and returns why it was refused, nil if it was not, or
// the error that leaves that open.
func (s *Session) pad(ctx context.Context, padding []byte) (refused, err error) {
	client := s.Client(1 << 10) // whose connections are not made anew
	defer func() { _ = client.Close() }()
	// A command that is on its way does not look at ctx.
	defer context.AfterFunc(ctx, func() { _ = client.Close() })()
	witness, padded := client.Conn(), client.Conn()
	defer func() { _, _ = witness.Close(), padded.Close() }()

	for _, c := range []*redis.Conn{witness, padded} { // what a greeting is refused with is no answer to the padding
		if err := s.reaches(ctx, c); err != nil {
			return nil, fmt.Errorf("before padding: %w", err)
		}
	}
	err = padded.Publish(ctx, s.probe+"/padding", padding).Err()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err == nil, redisconn.IsReply(err) && !redisconn.IsAboutSize(err):
		return nil, nil
	case redisconn.IsAboutSize(err):
		refused = err
	case redisconn.CauseOf(err) == redisconn.CauseClosed:
		refused = errEndedByPadding
	default:
		return nil, fmt.Errorf("publish %d bytes of padding: %w", len(padding), err)
	}
	if err := s.reaches(ctx, witness); err != nil {
		return nil, fmt.Errorf("after padding: %w", err)
	}
	return refused, nil
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
