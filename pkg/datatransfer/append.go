package datatransfer

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

// errVanished says that the stream disappeared under a live session.
var errVanished = errors.New("the stream vanished")

// addition is one XADD.
type addition struct {
	id     frame.ID
	msg    *frame.Message
	create bool
}

// send adds one batch and tells the outbox how far Redis has it.
func (a *Appender) send(ctx context.Context, conn *redis.Conn, lost *LostRange, items []*Item) error {
	adds, err := a.additions(lost, items)
	if err != nil {
		return err
	}
	if err := a.add(ctx, conn, adds); err != nil {
		a.state.held = true
		return err
	}
	a.state.held, a.state.begin, a.state.create = false, false, false
	a.outbox.delivered(adds[len(adds)-1].id)
	return nil
}

// additions puts a batch in the order in which it enters the stream: the
// epoch's first entry, the declaration of what is missing, the frames.
func (a *Appender) additions(lost *LostRange, items []*Item) ([]addition, error) {
	adds := make([]addition, 0, len(items)+2)
	if started := a.outbox.started; a.state.begin && started != nil {
		adds = append(adds, addition{id: started.id, msg: started.Message()})
	}
	if lost != nil {
		m, err := frame.NewMessage(frame.Header{
			Camera: a.cfg.Camera, ID: lost.Last, Status: frame.StatusDropped,
			First: lost.First, Last: lost.Last, Count: lost.Last.Seq - lost.First.Seq + 1,
			Reason: lost.Reason, PublishedUS: a.cfg.Clock.Now(),
		}, nil)
		if err != nil {
			return nil, err
		}
		adds = append(adds, addition{id: lost.Last, msg: m})
	}
	for _, item := range items {
		adds = append(adds, addition{id: item.id, msg: item.Message()})
		if a.state.mean == 0 {
			a.state.mean = float64(item.size())
		}
		a.state.mean += (float64(item.size()) - a.state.mean) / 64
	}
	adds[0].create = a.state.create
	return adds, nil
}

// maxLen is the stream's bound as a number of entries of the mean size.
func (a *Appender) maxLen() int64 {
	const overhead = 512 // of an entry in Redis, beside its bytes
	return max(int64(float64(a.cfg.MaxBytes)/(a.state.mean+overhead)), 1)
}

// add sends the batch: several entries in one transaction, because an entry
// that Redis refuses while it takes the next one could never be added later.
func (a *Appender) add(ctx context.Context, conn *redis.Conn, adds []addition) error {
	if len(adds) == 1 {
		return a.addOne(ctx, conn, adds[0])
	}
	cmds, err := conn.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for _, add := range adds {
			p.XAdd(ctx, a.args(add))
		}
		return nil
	})
	if err == nil {
		return nil
	}
	if !redisconn.IsReply(err) && !redisconn.IsReply(firstReply(cmds)) {
		return fmt.Errorf("add %d frames: %w", len(adds), err)
	}
	// Redis answered and refused: the reason is told by one entry alone, and
	// those that it has already are recognised one by one.
	for _, add := range adds {
		if err := a.addOne(ctx, conn, add); err != nil {
			return err
		}
		a.outbox.delivered(add.id)
		a.state.begin, a.state.create = false, false
	}
	return nil
}

func firstReply(cmds []redis.Cmder) error {
	for _, c := range cmds {
		if err := c.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (a *Appender) args(add addition) *redis.XAddArgs {
	return &redis.XAddArgs{
		Stream: a.cfg.Key, NoMkStream: !add.create, MaxLen: a.maxLen(), Approx: true,
		ID: add.id.String(), Values: []any{"header", add.msg.HeaderJSON(), "image", add.msg.Image()},
	}
}

func (a *Appender) addOne(ctx context.Context, conn *redis.Conn, add addition) error {
	err := conn.XAdd(ctx, a.args(add)).Err()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redis.Nil):
		return errVanished
	case strings.Contains(err.Error(), "equal or smaller"):
		return a.known(ctx, conn, add)
	default:
		return fmt.Errorf("add frame %s: %w", add.id, err)
	}
}

// known decides what a refused ID means: Redis has the entry from a call whose
// reply was lost, or somebody else has written there.
func (a *Appender) known(ctx context.Context, conn *redis.Conn, add addition) error {
	last, _, err := a.last(ctx, conn)
	if err != nil {
		return err
	}
	if last.Epoch == add.id.Epoch && !last.Less(add.id) && !a.outbox.Stats().Newest.Less(last) {
		return nil
	}
	return fmt.Errorf("%w (its last ID is %s, ours %s)", errConflict, last, add.id)
}
