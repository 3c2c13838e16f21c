package stream

import (
	"context"
	"errors"
	"os"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/pkg/datatransfer"
)

// afterOverdue is for a read that Redis did not end when its BLOCK was over.
// Redis counts that by the wall clock: when that is set back by an hour, a wait
// in hand lasts an hour. If Redis answers on another connection, that one is to
// be read with from then on, and the session is as good as before; nil means
// that it is not.
func afterOverdue(ctx context.Context, s *datatransfer.Session, old *redis.Conn, err error, log zerolog.Logger) *redis.Conn {
	if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	_ = old.Close() // it failed already
	conn := s.Data().Conn()
	limit, cancel := context.WithTimeout(ctx, readSlack)
	defer cancel()
	if conn.Ping(limit).Err() != nil {
		_ = conn.Close() // the read's error is the one to tell
		return nil
	}
	log.Info().Msg("Redis did not end a wait for frames, as when its clock is set back; waiting anew")
	return conn
}
