package outbox

import (
	"context"
	"errors"
	"io"
	"slices"

	"framekeeper/pkg/frame"
)

// simConn is a session's connection of the StreamWriter.
type simConn struct{ *simSession }

var _ streamConn = (*simConn)(nil)

func (c *simConn) End(context.Context) (end streamEnd, err error) {
	err = c.call(func() error {
		r := c.redis
		end = streamEnd{Last: r.last, Exists: r.exists, Entries: int64(len(r.stream))}
		if n := len(r.stream); n > 0 {
			end.Bytes = r.stream[n-1].size() - simOverhead
		}
		return nil
	})
	return end, err
}

func (c *simConn) EpochEnd(_ context.Context, epoch uint64) (id frame.ID, err error) {
	err = c.call(func() error {
		for _, e := range c.redis.stream {
			if e.id.Epoch <= epoch {
				id = e.id
			}
		}
		return nil
	})
	return id, err
}

func (c *simConn) First(context.Context) (id frame.ID, err error) {
	err = c.call(func() error {
		if e := c.redis.from(frame.ID{}, 1); len(e) > 0 {
			id = e[0].id
		}
		return nil
	})
	return id, err
}

// Add does what MULTI does: a refusal of the commands refuses all of them, an error
// while they are carried out is that of one alone.
func (c *simConn) Add(_ context.Context, entries []streamEntry, floor frame.ID, create bool) (err error) {
	entries = slices.Clone(entries)
	trims := &c.redis.world.ledger.trims
	*trims = nil
	defer func() {
		for _, x := range *trims {
			x.trimUnsure = errors.Is(err, io.EOF)
		}
	}()
	return c.call(func() (first error) {
		r := c.redis
		if r.refuse != nil {
			return r.refuse
		}
		for _, e := range entries {
			if r.ceiling > 0 && int64(e.msg.Size()) >= r.ceiling {
				return c.end("over a message of a size that Redis does not take")
			}
		}
		for i, e := range entries {
			r.world.ledger.sent(e.id, e.msg)
			err := r.add(simEntry{id: e.id, msg: e.msg}, create && i == 0)
			if err != nil && first == nil {
				first = err
			}
			if err == nil && i == len(entries)-1 {
				r.trim(floor)
			}
		}
		r.world.trace.note("redis: XADD %s to %s, floor %s: %v", entries[0].id, entries[len(entries)-1].id, floor, first)
		r.world.ledger.bounded(r)
		return first
	})
}

// Trim removes entries in an emergency.
func (c *simConn) Trim(_ context.Context, floor frame.ID) (n int64, err error) {
	err = c.call(func() error {
		r := c.redis
		n = int64(len(r.stream))
		r.halving = true
		r.trim(floor)
		r.halving = false
		n -= int64(len(r.stream))
		return nil
	})
	return n, err
}
