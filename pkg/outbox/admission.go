package outbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

// Admit checks, before a session may be LIVE, whether this node accepts writes at
// all. Before the first one it also renumbers what is unsent if the stream already
// has our epoch or a higher one (the clock was behind and the saved epoch lost), or
// has gone beyond frames of earlier starts that wait here.
func (w *StreamWriter) Admit(ctx context.Context, s *datatransfer.Session) error {
	conn := redisStream{conn: s.Data().Conn(), key: w.cfg.Key}
	defer conn.close()
	if err := checkNode(ctx, conn.conn, w.cfg.Key); err != nil {
		return err
	}
	return w.admit(ctx, &conn)
}

func (w *StreamWriter) admit(ctx context.Context, r streamConn) error {
	if w.admitted || w.frames.sentAny() {
		return nil
	}
	end, err := r.End(ctx)
	var o overtaken
	if err == nil {
		o, err = w.overtaken(ctx, r, w.frames.reached(end.Last))
	}
	if err != nil {
		if redisconn.EndsSession(err) {
			return err
		}
		return nil // the worker meets it again and logs it
	}
	before := w.frames.Epoch()
	changed, err := w.frames.renumber(o)
	if err != nil {
		return &datatransfer.FatalError{Err: err}
	}
	w.admitted = true
	if !changed {
		return nil
	}
	why := "The stream has continued since unsent frames of an earlier start; they are renumbered and sent first"
	if o.last.Epoch >= before {
		why = "The stream is ahead of this agent's clock; the epoch is raised above it"
	}
	w.cfg.Log.Warn().Uint64("epoch", w.frames.Epoch()).Stringer("last", o.last).Msg(why)
	w.frames.saveEpoch()
	return nil
}

// overtaken looks up what the stream has below its end of the epochs that are known, from
// the highest on, until it comes to one of a start before which all was settled.
func (w *StreamWriter) overtaken(ctx context.Context, r streamConn, last frame.ID) (overtaken, error) {
	o := overtaken{last: last, settled: last.Epoch, had: map[uint64]frame.ID{}}
	for {
		next, is := w.frames.unsettled(o.settled)
		if !is {
			return o, nil
		}
		id, err := r.EpochEnd(ctx, next)
		if err != nil {
			return o, err
		}
		if o.settled = min(id.Epoch, next); !id.IsZero() { // a server that does not do as it should is not asked for ever
			o.had[id.Epoch] = id
		}
	}
}

var errReplica = errors.New("this Redis is a replica")

// checkNode asks, in one round trip, for the role and whether the stream can be
// read. It does not read the last entry, which comes with its image: on a slow line
// that is for the worker to wait for.
func checkNode(ctx context.Context, conn *redis.Conn, key string) error {
	p := conn.Pipeline()
	role := p.Do(ctx, "ROLE")
	length := p.XLen(ctx, key)
	_, _ = p.Exec(ctx) // each has its own error
	if err := checkMaster(role); err != nil {
		return err
	}
	if err := length.Err(); redisconn.EndsSession(err) {
		return fmt.Errorf("read length of %s: %w", key, err)
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
