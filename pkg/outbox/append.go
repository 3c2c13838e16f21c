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

// errVanished says that the stream disappeared under a live session.
var errVanished = errors.New("the stream vanished")

// addition is one XADD.
type addition struct {
	id     frame.ID
	msg    *frame.Message
	create bool
}

// send adds one batch and tells the outbox how far Redis has it.
func (a *StreamWriter) send(ctx context.Context, conn *redis.Conn, items []*Item) error {
	adds, err := a.additions(items)
	if err != nil {
		return err
	}
	if len(adds) == 0 { // nothing to begin with
		a.state.begin = false
		return nil
	}
	if err := a.add(ctx, conn, adds); err != nil {
		a.state.held = true
		return err
	}
	a.taken(adds[len(adds)-1])
	return nil
}

// taken notes that Redis has the entry and all before it.
func (a *StreamWriter) taken(add addition) {
	a.state.held, a.state.create = false, false
	if add.id.Epoch == a.outbox.Epoch() {
		a.state.begin = false
	}
	a.outbox.delivered(add.id)
}

// additions puts a batch in the order in which it enters the stream: frames of
// earlier starts, this epoch's first entry, its frames.
func (a *StreamWriter) additions(items []*Item) ([]addition, error) {
	adds := make([]addition, 0, len(items)+1)
	begun := !a.state.begin
	begin := func() {
		if started := a.outbox.started; !begun && started != nil {
			adds = append(adds, addition{id: started.id, msg: started.Message()})
		}
		begun = true
	}
	for _, item := range items {
		if item.id.Epoch == a.outbox.Epoch() {
			begin()
		}
		m, loss := a.outbox.message(item)
		if m == nil {
			var err error
			if m, err = declaration(a.cfg.Camera, a.cfg.Clock, loss); err != nil {
				return nil, err
			}
		}
		adds = append(adds, addition{id: item.id, msg: m})
		if size := float64(m.Size()); a.state.mean == 0 {
			a.state.mean = size
		} else if loss == nil {
			a.state.mean += (size - a.state.mean) / 64
		}
	}
	if len(items) == 0 {
		begin()
	}
	if len(adds) > 0 {
		adds[0].create = a.state.create
	}
	return adds, nil
}

// declaration is the entry that stands for lost frames.
func declaration(camera string, clock *frame.Clock, l *LostRange) (*frame.Message, error) {
	return frame.NewMessage(frame.Header{
		Camera: camera, ID: l.Last, Status: frame.StatusDropped,
		First: l.First, Last: l.Last, Count: l.Last.Seq - l.First.Seq + 1,
		Reason: l.Reason, PublishedUS: clock.Now(),
	}, nil)
}

// maxLen is the stream's bound as a number of entries of the mean size.
func (a *StreamWriter) maxLen() int64 {
	const overhead = 512 // of an entry in Redis, beside its bytes
	return max(int64(float64(a.cfg.MaxBytes)/(a.state.mean+overhead)), 1)
}

// add sends the batch: several entries in one transaction, because an entry
// that Redis refuses while it takes the next one could never be added later.
func (a *StreamWriter) add(ctx context.Context, conn *redis.Conn, adds []addition) error {
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
		a.taken(add)
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

func (a *StreamWriter) args(add addition) *redis.XAddArgs {
	return &redis.XAddArgs{
		Stream: a.cfg.Key, NoMkStream: !add.create, MaxLen: a.maxLen(), Approx: true,
		ID: add.id.String(), Values: add.msg.Entry(),
	}
}

func (a *StreamWriter) addOne(ctx context.Context, conn *redis.Conn, add addition) error {
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
func (a *StreamWriter) known(ctx context.Context, conn *redis.Conn, add addition) error {
	last, _, err := a.last(ctx, conn)
	if err != nil {
		return err
	}
	if last.Epoch == add.id.Epoch && !last.Less(add.id) && !a.newest().Less(last) {
		return nil
	}
	return fmt.Errorf("%w (its last ID is %s, ours %s)", errConflict, last, add.id)
}
