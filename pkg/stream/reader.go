// Package stream reads a camera's stream: a Consumer reads it whole, a
// GroupConsumer shares it with the other workers of a consumer group. A Consumer
// promises that every ID above its watermark is delivered once and in order, or
// counted in a gap that is declared, trimmed, unknown or undeclared; a
// GroupConsumer that every entry is finished at least once, by some worker. Both
// outlive sessions and restarts of Redis, and wait while reading is refused. What
// becomes of a frame is the caller's business.
package stream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

const (
	replyBytes   = 2 << 20 // wanted in one reply
	replyEntries = 50      // at most
	readSlack    = 2 * time.Second
	retryWait    = time.Second // before a refused read is tried again
)

var (
	errLeft    = errors.New("the worker has left its group") // ends the reading of a session in order
	errOtherID = errors.New("the header's ID is not the entry's")
	errNoEntry = errors.New("an error reply is no entry of a stream")
)

// reader is what both consumers share. Only the session's worker uses it.
type reader struct {
	key     string
	log     zerolog.Logger
	mean    float64 // bytes of a frame, 0 before the first
	refused bool    // reading is refused, and that was logged
}

// run calls step until ctx ends, or step returns what ends the session.
func (r *reader) run(ctx context.Context, s *datatransfer.Session, step func(context.Context, *redis.Conn) error) error {
	conn := s.Data().Conn()
	defer func() { _ = conn.Close() }()
	for ctx.Err() == nil {
		err := step(ctx, conn)
		switch {
		case ctx.Err() != nil, errors.Is(err, errLeft):
			return nil
		case err == nil:
			r.allowed()
		case redisconn.EndsSession(err) || !redisconn.IsReply(err):
			r.mean = 0 // perhaps what was asked for was too much: the next reply is one entry
			next := r.reconnect(ctx, s, conn, err)
			if next == nil {
				return err
			}
			conn = next
		default: // the link is not to blame: others use it
			if !r.refused {
				r.log.Error().Err(err).Str("stream", r.key).Str("advice", redisconn.CauseOf(err).Advice()).
					Msg("Redis refuses to read the stream; it is tried again every second")
			}
			r.refused = true
			select {
			case <-time.After(retryWait):
			case <-ctx.Done():
			}
		}
	}
	return nil
}

func (r *reader) allowed() {
	if r.refused {
		r.log.Info().Str("stream", r.key).Msg("Redis permits reading the stream again")
	}
	r.refused = false
}

// reconnect is for a read that Redis did not end when its BLOCK was over. Redis
// measures that by the wall clock: when it is set back by an hour, a wait in hand
// lasts an hour. If Redis answers on another connection, that one is read with from
// then on, and the session goes on; nil means that it does not.
func (r *reader) reconnect(ctx context.Context, s *datatransfer.Session, old *redis.Conn, err error) *redis.Conn {
	if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	_ = old.Close() // it failed already
	conn := s.Data().Conn()
	limit, cancel := context.WithTimeout(ctx, readSlack)
	defer cancel()
	if conn.Ping(limit).Err() != nil {
		_ = conn.Close() // the read's error is the one to report
		return nil
	}
	r.log.Info().Msg("Redis did not end a blocking read in time, as after its clock was set back; the read is repeated")
	return conn
}

// wanted is how many entries to ask for.
func (r *reader) wanted() int64 {
	if r.mean == 0 {
		return 1 // fifty unknown frames may be 135 MB
	}
	return min(max(int64(replyBytes/r.mean), 1), replyEntries)
}

// readEntries returns those that come within block; none is no error. The deadline moves
// on while bytes arrive (see package redisconn), so that it bounds silence and not
// the transfer.
func readEntries(
	ctx context.Context, key string, block time.Duration, read func(context.Context) *redis.XStreamSliceCmd,
) ([]redis.XMessage, error) {
	limit, cancel := context.WithTimeout(ctx, max(block, 0)+readSlack)
	defer cancel()
	streams, err := read(limit).Result()
	switch {
	case err == nil && len(streams) == 1:
		return streams[0].Messages, nil
	case err == nil, errors.Is(err, redis.Nil), ctx.Err() != nil:
		return nil, nil
	default:
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
}

// message is the entry's message. With an error there may be one too, as far as it
// can be distinguished.
func (r *reader) message(id frame.ID, values map[string]any) (*frame.Message, error) {
	m, err := frame.ParseEntry(values)
	if m == nil {
		return nil, err
	}
	if n := float64(len(m.Image())); n > 0 { // other entries have no image
		if r.mean == 0 {
			r.mean = n
		}
		r.mean += (n - r.mean) / 8
	}
	switch {
	case m.Header.ID != id:
		return nil, errOtherID
	case m.Header.Status == frame.StatusError:
		return nil, errNoEntry
	}
	return m, err
}
