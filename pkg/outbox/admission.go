package outbox

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/redis/go-redis/v9"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

// Admit checks, before a session may be LIVE, whether this node accepts writes at
// all. Before the first one it also renumbers what is unsent if the stream already
// has our epoch or a higher one (the clock was behind and the saved epoch lost), or
// has gone beyond frames of earlier starts that wait here.
func (w *StreamWriter) Admit(ctx context.Context, s *datatransfer.Session, saveEpoch func(epoch uint64) error) error {
	conn := s.Data().Conn()
	defer func() { _ = conn.Close() }()
	if err := w.checkNode(ctx, conn); err != nil || w.admitted || w.frames.sentAny() {
		return err
	}
	last, _, err := w.lastID(ctx, conn)
	var had map[uint64]frame.ID
	if err == nil {
		had, err = w.overtaken(ctx, conn, last)
	}
	if err != nil {
		if redisconn.EndsSession(err) {
			return err
		}
		return nil // the worker meets it again and logs it
	}
	w.admitted = true
	before := w.frames.Epoch()
	ahead := last.Epoch >= before
	if last.Epoch == math.MaxUint64 || !ahead && len(had) == 0 { // there is none above that: a conflict
		return nil
	}
	epoch, err := w.frames.renumber(last, had)
	if err != nil {
		return &datatransfer.FatalError{Err: err}
	}
	if epoch == before {
		return nil
	}
	why := "The stream has continued since unsent frames of an earlier start; they are renumbered and sent first"
	if ahead {
		why = "The stream is ahead of this agent's clock; the epoch is raised above it"
	}
	w.cfg.Log.Warn().Uint64("epoch", epoch).Stringer("last", last).Msg(why)
	return saveEpoch(epoch)
}

// overtaken looks up, for each epoch of frames that wait here and are below the
// stream's end, up to where the stream has it; zero: not at all.
func (w *StreamWriter) overtaken(ctx context.Context, conn *redis.Conn, last frame.ID) (map[uint64]frame.ID, error) {
	had := map[uint64]frame.ID{}
	for _, epoch := range w.frames.overtaken(last) {
		last, err := redisconn.LastID(ctx, conn, w.cfg.Key, fmt.Sprint(epoch)) // in place of an ID it means its last one
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

// checkNode asks, in one round trip, for the role and whether the stream can be
// read. It does not read the last entry, which comes with its image: on a slow line
// that is for the worker to wait for.
func (w *StreamWriter) checkNode(ctx context.Context, conn *redis.Conn) error {
	p := conn.Pipeline()
	role := p.Do(ctx, "ROLE")
	length := p.XLen(ctx, w.cfg.Key)
	_, _ = p.Exec(ctx) // each has its own error
	if err := checkMaster(role); err != nil {
		return err
	}
	if err := length.Err(); redisconn.EndsSession(err) {
		return fmt.Errorf("read length of %s: %w", w.cfg.Key, err)
	}
	return nil
}

// checkMaster rejects a replica: it accepts subscriptions and PUBLISH, and refuses
// every frame.
func checkMaster(answer *redis.Cmd) error {
	role, err := answer.Slice()
	switch {
	case err != nil && redisconn.EndsSession(err):
		return fmt.Errorf("ask for the role: %w", err)
	case err == nil && len(role) > 0 && role[0] == "slave":
		return &redisconn.CauseError{Cause: redisconn.CauseReadOnly, Err: errReplica}
	default: // or not permitted to ask: the first frame shows it
		return nil
	}
}
