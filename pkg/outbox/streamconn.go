package outbox

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

// streamConn is a stream as its writer uses it, over one connection: entries of two
// could overtake each other. Errors are Redis's replies or the connection's end.
type streamConn interface {
	// End is the stream's end.
	End(ctx context.Context) (streamEnd, error)
	// EpochEnd is the last entry of an epoch, or of one before it; zero: there is none.
	EpochEnd(ctx context.Context, epoch uint64) (frame.ID, error)
	// First is the first entry; zero: there is none.
	First(ctx context.Context) (frame.ID, error)
	// Add adds entries in order, all or, of several, none; errVanished: there is no
	// stream, and create was not set. Everything below floor is trimmed; zero: nothing.
	Add(ctx context.Context, entries []streamEntry, floor frame.ID, create bool) error
	// Trim removes everything below floor, and returns how many entries that were.
	Trim(ctx context.Context, floor frame.ID) (int64, error)
}

// streamEnd is what a stream has.
type streamEnd struct {
	Last    frame.ID // of the last entry; of a stream without any, the ID below which it accepts none
	Exists  bool
	Entries int64
	Bytes   int64 // of the last entry
}

// redisStream is a stream of Redis.
type redisStream struct {
	conn *redis.Conn
	key  string
	// An ID was refused: the stream may have had entries above its last one, which
	// somebody deleted.
	refused bool
}

func (r *redisStream) close() { _ = r.conn.Close() }

func (r *redisStream) End(ctx context.Context) (end streamEnd, err error) {
	p := r.conn.Pipeline()
	last, length := p.XRevRangeN(ctx, r.key, "+", "-", 1), p.XLen(ctx, r.key)
	_, _ = p.Exec(ctx) // each has its own error
	entries, err := last.Result()
	if err != nil {
		return end, fmt.Errorf("read last ID of %s: %w", r.key, err)
	}
	end.Entries, end.Exists = length.Val(), true
	if len(entries) > 0 {
		for _, v := range entries[0].Values {
			end.Bytes += int64(len(fmt.Sprint(v)))
		}
		if end.Last, err = frame.ParseID(entries[0].ID); err != nil || !r.refused {
			return end, err
		}
	}
	info, err := r.conn.XInfoStream(ctx, r.key).Result()
	switch {
	case err == nil:
		r.refused = false
		end.Last, err = frame.ParseID(info.LastGeneratedID)
		return end, err
	case redisconn.IsReply(err): // no such key; a denied command is as good as that
		end.Exists = len(entries) > 0
		return end, nil
	default:
		return streamEnd{}, fmt.Errorf("read %s: %w", r.key, err)
	}
}

func (r *redisStream) EpochEnd(ctx context.Context, epoch uint64) (frame.ID, error) {
	return redisconn.LastID(ctx, r.conn, r.key, fmt.Sprint(epoch)) // in place of an ID it means its last one
}

// First asks for what every documented user may: XINFO, which gives the last entry too.
func (r *redisStream) First(ctx context.Context) (frame.ID, error) {
	info, err := r.conn.XInfoStream(ctx, r.key).Result()
	if err != nil || info.FirstEntry.ID == "" {
		return frame.ID{}, err
	}
	return frame.ParseID(info.FirstEntry.ID)
}

// Add sends several entries in one transaction, because an entry that Redis refuses
// while it accepts the next one could never be added later.
func (r *redisStream) Add(ctx context.Context, entries []streamEntry, floor frame.ID, create bool) error {
	last := len(entries) - 1
	if last == 0 {
		return r.reply(r.conn.XAdd(ctx, r.args(entries[0], floor, create)).Err())
	}
	cmds, err := r.conn.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for i, e := range entries {
			trim := frame.ID{}
			if i == last {
				trim = floor
			}
			p.XAdd(ctx, r.args(e, trim, create && i == 0))
		}
		return nil
	})
	if err == nil || redisconn.IsReply(err) {
		return r.reply(err)
	}
	for _, c := range cmds { // the transaction's own error may be the connection's end
		if redisconn.IsReply(c.Err()) {
			return r.reply(c.Err())
		}
	}
	return fmt.Errorf("add %d frames: %w", len(entries), err)
}

func (r *redisStream) args(e streamEntry, floor frame.ID, create bool) *redis.XAddArgs {
	return &redis.XAddArgs{Stream: r.key, NoMkStream: !create, MinID: floor.String(), ID: e.id.String(), Values: e.msg.Entry()}
}

func (r *redisStream) reply(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redis.Nil):
		return errVanished
	case strings.Contains(err.Error(), "equal or smaller"):
		r.refused = true
		return fmt.Errorf("%w: %w", errNotAbove, err)
	default:
		return fmt.Errorf("add frame: %w", err)
	}
}

func (r *redisStream) Trim(ctx context.Context, floor frame.ID) (int64, error) {
	return r.conn.XTrimMinID(ctx, r.key, floor.String()).Result()
}

// Memory is what the stream takes in Redis.
func (r *redisStream) Memory(ctx context.Context) (int64, error) {
	return r.conn.MemoryUsage(ctx, r.key).Result()
}

// Causes that only the writer of a stream can find.
const (
	CauseConflict redisconn.Cause = "conflict"
	CauseEvicted  redisconn.Cause = "stream vanished"
)

var (
	errConflict = errors.New("the stream has entries that this agent did not write") // somebody else writes there
	errVanished = errors.New("the stream vanished")                                  // under a live session
	errNotAbove = errors.New("the ID is not above the stream's last one")            // a lost reply, or another writer
)
