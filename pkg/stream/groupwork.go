package stream

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"framekeeper/pkg/frame"
)

// work handles entries and takes the finished ones out of the pool's pending
// list.
func (g *GroupConsumer) work(ctx context.Context, conn *redis.Conn, entries []redis.XMessage) error {
	var finished []string
	var sum GroupStats
	for _, e := range entries {
		if ctx.Err() != nil {
			break
		}
		if ok, err := g.finish(ctx, e, &sum); err != nil {
			return err
		} else if ok {
			finished = append(finished, e.ID)
		}
	}
	if len(finished) == 0 {
		return nil
	}
	if g.cfg.Settle != nil {
		if err := g.cfg.Settle(); err != nil {
			g.count(func(s *GroupStats) { s.Failed += uint64(len(finished)) })
			g.cfg.Log.Warn().Int("entries", len(finished)).Err(err).Msg("frames could not be made durable, they stay pending")
			return nil
		}
	}
	g.count(func(s *GroupStats) {
		s.Handled += sum.Handled
		s.Declared += sum.Declared
		s.Poisoned += sum.Poisoned
	})
	g.done = append(g.done, finished...)
	return g.acknowledge(ctx, conn)
}

// finish handles one entry; false leaves it pending. What it counts holds once
// it is settled.
func (g *GroupConsumer) finish(ctx context.Context, e redis.XMessage, sum *GroupStats) (bool, error) {
	id, err := frame.ParseID(e.ID)
	if err != nil {
		return false, fmt.Errorf("read ID of an entry of %s: %w", g.cfg.Key, err)
	}
	if e.Values == nil {
		g.cfg.Log.Warn().Stringer("id", id).Msg("frame was cut off the stream's start before it was finished")
		return true, nil
	}
	tries := g.tries[e.ID]
	m, err := g.message(id, e, tries)
	if err != nil {
		sum.Poisoned++
		g.cfg.Log.Error().Stringer("id", id).Err(err).Msg("frame is set aside")
		if g.cfg.Poison != nil {
			g.cfg.Poison(id, m, err)
		}
		return true, nil
	}
	if err := g.cfg.Handle(ctx, m); err != nil {
		if ctx.Err() == nil {
			g.count(func(s *GroupStats) { s.Failed++ })
			g.cfg.Log.Warn().Stringer("id", id).Int("try", max(tries, 1)).Err(err).Msg("frame could not be handled, it stays pending")
		}
		return false, nil
	}
	sum.Handled++
	mark := g.high
	if tries > 0 {
		mark = frame.ID{} // whoever had it did not count it
	}
	sum.Declared += gapBefore(mark, id, m.Header).declared
	g.high = frame.Later(g.high, id)
	return true, nil
}

// message is the entry's message, and what speaks against handling it: then it
// is there as far as it can be told apart.
func (g *GroupConsumer) message(id frame.ID, e redis.XMessage, tries int) (*frame.Message, error) {
	m, err := frame.ParseEntry(e.Values)
	g.alone.measure(m)
	switch {
	case m != nil && m.Header.ID != id:
		return nil, errOtherID
	case err == nil && tries > g.cfg.Tries:
		return m, fmt.Errorf("not finished in %d tries", tries-1)
	default:
		return m, err
	}
}
