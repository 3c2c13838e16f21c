package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	groupBlock = 500 * time.Millisecond // one XREADGROUP waits that long; Leave waits for it
	groupWait  = 200 * time.Millisecond // between looks for a stream that is not there
)

func (g *GroupConsumer) wanted() int64 {
	if g.alone.mean == 0 {
		return 1 // fifty unknown frames may be 135 MB
	}
	return min(max(int64(readBytes/g.alone.mean), 1), readMost)
}

// read asks for entries: new ones for ">", or this worker's own pending ones
// above an ID.
func (g *GroupConsumer) read(ctx context.Context, conn *redis.Conn, after string, block time.Duration) ([]redis.XMessage, error) {
	limit, cancel := context.WithTimeout(ctx, max(block, 0)+readSlack)
	defer cancel()
	streams, err := conn.XReadGroup(limit, &redis.XReadGroupArgs{
		Group: g.cfg.Group, Consumer: g.cfg.Name, Streams: []string{g.cfg.Key, after}, Count: g.wanted(), Block: block,
	}).Result()
	switch {
	case err == nil && len(streams) == 1:
		return streams[0].Messages, nil
	case err == nil, errors.Is(err, redis.Nil), ctx.Err() != nil:
		return nil, nil
	default:
		return nil, fmt.Errorf("read %s for group %s: %w", g.cfg.Key, g.cfg.Group, err)
	}
}

// noGroup reports whether the pool, or the stream below it, is not there.
func noGroup(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "NOGROUP") || strings.Contains(err.Error(), "UNBLOCKED") ||
		strings.Contains(err.Error(), "no such key"))
}

// create makes the pool at the stream's start, once the agent has made the
// stream.
func (g *GroupConsumer) create(ctx context.Context, conn *redis.Conn) error {
	for ctx.Err() == nil && !g.leaves() {
		err := conn.XGroupCreate(ctx, g.cfg.Key, g.cfg.Group, "0").Err()
		switch {
		case err == nil:
			g.idle = false
			g.count(func(s *GroupStats) { s.Groups++ })
			g.cfg.Log.Info().Str("stream", g.cfg.Key).Str("group", g.cfg.Group).Msg("the group was made, at the stream's start")
			return nil
		case strings.Contains(err.Error(), "BUSYGROUP"): // another worker was faster
			g.idle = false
			return nil
		case !strings.Contains(err.Error(), "MKSTREAM"): // what it advises when there is no stream
			return fmt.Errorf("make group %s of %s: %w", g.cfg.Group, g.cfg.Key, err)
		}
		g.alone.allowed()
		if !g.idle {
			g.cfg.Log.Info().Str("stream", g.cfg.Key).Str("group", g.cfg.Group).Msg("waiting for the agent to make the stream")
		}
		g.idle = true
		select {
		case <-time.After(groupWait):
		case <-g.leaving:
		case <-ctx.Done():
		}
	}
	return nil
}

// acknowledge takes finished entries out of the pending list, whoever has them
// there.
func (g *GroupConsumer) acknowledge(ctx context.Context, conn *redis.Conn) error {
	if len(g.done) == 0 {
		return nil
	}
	err := conn.XAck(ctx, g.cfg.Key, g.cfg.Group, g.done...).Err()
	if err != nil && !noGroup(err) {
		return fmt.Errorf("acknowledge %d entries of %s: %w", len(g.done), g.cfg.Key, err)
	}
	g.done = nil
	return nil
}

// resume takes up what this worker had in hand when its last session ended, so
// that nobody has to wait until it counts as idle.
func (g *GroupConsumer) resume(ctx context.Context, conn *redis.Conn) error {
	for after := "0"; ctx.Err() == nil && !g.leaves(); {
		entries, err := g.read(ctx, conn, after, -1)
		if err != nil || len(entries) == 0 {
			return err
		}
		if err := g.again(ctx, conn, entries); err != nil {
			return err
		}
		after = entries[len(entries)-1].ID
	}
	return nil
}

// claim takes over what was handed out at least Idle ago and is not finished.
// Redis itself drops those that were trimmed meanwhile.
func (g *GroupConsumer) claim(ctx context.Context, conn *redis.Conn) error {
	for next := "0-0"; ctx.Err() == nil && !g.leaves(); {
		entries, after, err := conn.XAutoClaim(ctx, &redis.XAutoClaimArgs{
			Stream: g.cfg.Key, Group: g.cfg.Group, Consumer: g.cfg.Name, MinIdle: g.cfg.Idle, Start: next, Count: g.wanted(),
		}).Result()
		if err != nil {
			return fmt.Errorf("claim idle entries of %s: %w", g.cfg.Key, err)
		}
		g.count(func(s *GroupStats) { s.Claimed += uint64(len(entries)) })
		if err := g.again(ctx, conn, entries); err != nil {
			return err
		}
		if next = after; next == "0-0" || next == "" {
			return nil
		}
	}
	return nil
}

// again works on entries that had been handed out before.
func (g *GroupConsumer) again(ctx context.Context, conn *redis.Conn, entries []redis.XMessage) error {
	if len(entries) == 0 {
		return nil
	}
	asked := make([]*redis.XPendingExtCmd, len(entries))
	_, err := conn.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, e := range entries {
			asked[i] = p.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: g.cfg.Key, Group: g.cfg.Group, Start: e.ID, End: e.ID, Count: 1})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("count tries of pending entries of %s: %w", g.cfg.Key, err)
	}
	g.tries = make(map[string]int, len(entries))
	defer func() { g.tries = nil }()
	for _, cmd := range asked {
		for _, p := range cmd.Val() {
			g.tries[p.ID] = int(p.RetryCount)
		}
	}
	return g.work(ctx, conn, entries)
}

// forget takes this worker out of the pool, unless entries of its own are still
// pending: deleting it would lose them to the others.
func (g *GroupConsumer) forget(ctx context.Context, conn *redis.Conn) {
	defer g.leftOnce.Do(func() { close(g.left) })
	pending, err := conn.XPendingExt(ctx, &redis.XPendingExtArgs{
		Stream: g.cfg.Key, Group: g.cfg.Group, Consumer: g.cfg.Name, Start: "-", End: "+", Count: 1,
	}).Result()
	if err != nil || len(pending) > 0 {
		return // a worker without entries costs the pool nothing
	}
	if err := conn.XGroupDelConsumer(ctx, g.cfg.Key, g.cfg.Group, g.cfg.Name).Err(); err != nil {
		g.cfg.Log.Debug().Err(err).Str("group", g.cfg.Group).Msg("the group keeps the name of this worker")
	}
}
