package outbox

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/redis/go-redis/v9"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"

	"framekeeper/pkg/datatransfer"
)

// Admit looks, before a session may be LIVE, whether this node takes writes at
// all. Before the first one it also raises the epoch if the stream already
// bears ours or a higher one (the clock was behind and the saved epoch lost), or
// has gone beyond frames of earlier starts that wait here.
func (a *StreamWriter) Admit(ctx context.Context, s *datatransfer.Session, save func(epoch uint64) error) error {
	conn := s.Data().Conn()
	defer func() { _ = conn.Close() }()
	if err := a.glance(ctx, conn); err != nil || a.admitted || a.outbox.begun() {
		return err
	}
	last, _, err := a.last(ctx, conn)
	var late map[uint64]frame.ID
	if err == nil {
		late, err = a.overtaken(ctx, conn, last)
	}
	if err != nil {
		if redisconn.EndsSession(err) {
			return err
		}
		return nil // the worker meets it again and says so
	}
	a.admitted = true
	ahead := last.Epoch >= a.outbox.Epoch()
	if last.Epoch == math.MaxUint64 || !ahead && len(late) == 0 { // there is none above that: a conflict
		return nil
	}
	before := a.outbox.Epoch()
	epoch, err := a.outbox.raise(last, late)
	if err != nil {
		return &datatransfer.FatalError{Err: err}
	}
	if epoch == before {
		return nil
	}
	why := "frames of an earlier start waited while the stream went on, they go first and get new IDs"
	if ahead {
		why = "the stream is ahead of this agent's clock, continuing above it"
	}
	a.cfg.Log.Warn().Uint64("epoch", epoch).Stringer("last", last).Msg(why)
	return save(epoch)
}

// overtaken looks up, for each epoch of frames that wait here and are below the
// stream's end, up to where the stream has it; zero: not at all.
func (a *StreamWriter) overtaken(ctx context.Context, conn *redis.Conn, last frame.ID) (map[uint64]frame.ID, error) {
	had := map[uint64]frame.ID{}
	for _, epoch := range a.outbox.overtaken(last) {
		last, err := redisconn.LastID(ctx, conn, a.cfg.Key, fmt.Sprint(epoch)) // in place of an ID it means its last one
		if err != nil {
			return nil, err
		}
		if had[epoch] = (frame.ID{}); last.Epoch == epoch {
			had[epoch] = last
		}
	}
	return had, nil
}

var errReplica = errors.New("this Redis is a replica")

// glance asks, in one round trip, for the role and whether the stream can be
// looked at. It does not read the last entry, which comes with its image: on a
// slow line that is for the worker to wait for.
func (a *StreamWriter) glance(ctx context.Context, conn *redis.Conn) error {
	p := conn.Pipeline()
	role := p.Do(ctx, "ROLE")
	length := p.XLen(ctx, a.cfg.Key)
	_, _ = p.Exec(ctx) // each tells its own error
	if err := master(role); err != nil {
		return err
	}
	if err := length.Err(); redisconn.EndsSession(err) {
		return fmt.Errorf("look at %s: %w", a.cfg.Key, err)
	}
	return nil
}

// master refuses a replica: it takes subscriptions and PUBLISH, and refuses
// every frame.
func master(answer *redis.Cmd) error {
	role, err := answer.Slice()
	switch {
	case err != nil && redisconn.EndsSession(err):
		return fmt.Errorf("ask for the role: %w", err)
	case err != nil || len(role) == 0: // not permitted to ask: the first frame will tell
		return nil
	case role[0] == "slave":
		return &redisconn.CauseError{Cause: redisconn.CauseReadOnly, Err: errReplica}
	default:
		return nil
	}
}
