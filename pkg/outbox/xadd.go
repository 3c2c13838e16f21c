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

// addition is one XADD.
type addition struct {
	id     frame.ID
	msg    *frame.Message
	create bool
}

// send adds one batch and notes how far Redis has it.
func (w *StreamWriter) send(ctx context.Context, conn *redis.Conn, items []*Item) error {
	adds, err := w.additions(items)
	if err != nil {
		return err
	}
	if len(adds) == 0 { // no entry to begin with
		w.state.begin = false
		return nil
	}
	if err := w.add(ctx, conn, adds); err != nil {
		w.state.rejected = true
		return err
	}
	w.added(adds[len(adds)-1])
	return nil
}

// added notes that Redis has the entry and all before it.
func (w *StreamWriter) added(add addition) {
	w.state.rejected, w.state.create = false, false
	if add.id.Epoch == w.frames.Epoch() {
		w.state.begin = false
	}
	w.frames.delivered(add.id)
}

// additions puts a batch in the order in which it enters the stream: frames of
// earlier starts, this epoch's first entry, its frames.
func (w *StreamWriter) additions(items []*Item) ([]addition, error) {
	adds := make([]addition, 0, len(items)+1)
	begun := !w.state.begin
	begin := func() {
		if started := w.frames.started; !begun && started != nil {
			adds = append(adds, addition{id: started.id, msg: started.Message()})
		}
		begun = true
	}
	for _, item := range items {
		if item.id.Epoch == w.frames.Epoch() {
			begin()
		}
		m, lost := w.frames.message(item)
		if m == nil {
			var err error
			if m, err = lost.message(w.cfg.Camera, w.cfg.Clock); err != nil {
				return nil, err
			}
		}
		adds = append(adds, addition{id: item.id, msg: m})
		if size := float64(m.Size()); w.state.mean == 0 {
			w.state.mean = size
		} else if lost == nil {
			w.state.mean += (size - w.state.mean) / 64
		}
	}
	if len(items) == 0 {
		begin()
	}
	if len(adds) > 0 {
		adds[0].create = w.state.create
	}
	return adds, nil
}

// add sends the batch: several entries in one transaction, because an entry that
// Redis refuses while it accepts the next one could never be added later.
func (w *StreamWriter) add(ctx context.Context, conn *redis.Conn, adds []addition) error {
	if len(adds) == 1 {
		return w.addOne(ctx, conn, adds[0])
	}
	cmds, err := conn.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for _, add := range adds {
			p.XAdd(ctx, w.args(add))
		}
		return nil
	})
	if err == nil {
		return nil
	}
	if !redisconn.IsReply(err) && !redisconn.IsReply(firstError(cmds)) {
		return fmt.Errorf("add %d frames: %w", len(adds), err)
	}
	// Redis refused: one entry alone gets the reason, and those that Redis has
	// already are recognised one by one.
	for _, add := range adds {
		if err := w.addOne(ctx, conn, add); err != nil {
			return err
		}
		w.added(add)
	}
	return nil
}

func firstError(cmds []redis.Cmder) error {
	for _, c := range cmds {
		if err := c.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (w *StreamWriter) args(add addition) *redis.XAddArgs {
	const overhead = 512 // of an entry in Redis, beside its bytes
	entries := max(int64(float64(w.cfg.MaxBytes)/(w.state.mean+overhead)), 1)
	return &redis.XAddArgs{
		Stream: w.cfg.Key, NoMkStream: !add.create, MaxLen: entries, Approx: true,
		ID: add.id.String(), Values: add.msg.Entry(),
	}
}

func (w *StreamWriter) addOne(ctx context.Context, conn *redis.Conn, add addition) error {
	err := conn.XAdd(ctx, w.args(add)).Err()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redis.Nil):
		return errVanished
	case strings.Contains(err.Error(), "equal or smaller"):
		return w.checkPresent(ctx, conn, add)
	default:
		return fmt.Errorf("add frame %s: %w", add.id, err)
	}
}

// checkPresent decides what a refused ID means: Redis has the entry from a call
// whose reply was lost, or somebody else has written to the stream.
func (w *StreamWriter) checkPresent(ctx context.Context, conn *redis.Conn, add addition) error {
	last, _, err := w.lastID(ctx, conn)
	if err != nil {
		return err
	}
	if last.Epoch == add.id.Epoch && !last.Less(add.id) && !w.newest().Less(last) {
		return nil
	}
	return fmt.Errorf("%w (its last ID is %s, ours %s)", errConflict, last, add.id)
}
