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
	groupWait  = 200 * time.Millisecond // before a stream that is not there is looked for again
)

// read reads entries: new ones for ">", or this worker's own pending ones above an
// ID.
func (g *GroupConsumer) read(ctx context.Context, conn *redis.Conn, after string, block time.Duration) ([]redis.XMessage, error) {
	count := g.wanted()
	if g.stuck && after == ">" {
		count = 1
	}
	return readEntries(ctx, g.key, block, func(limit context.Context) *redis.XStreamSliceCmd {
		return conn.XReadGroup(limit, &redis.XReadGroupArgs{
			Group: g.cfg.Group, Consumer: g.cfg.Name, Streams: []string{g.key, after}, Count: count, Block: block,
		})
	})
}

// noGroup reports whether the group, or the stream below it, is not there.
func noGroup(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "NOGROUP") || strings.Contains(err.Error(), "UNBLOCKED") ||
		strings.Contains(err.Error(), "no such key"))
}

// create makes the group at the stream's start, or waits a moment for the agent to
// make the stream.
func (g *GroupConsumer) create(ctx context.Context, conn *redis.Conn) error {
	err := conn.XGroupCreate(ctx, g.key, g.cfg.Group, "0").Err()
	switch {
	case err == nil:
		g.count(func(s *GroupStats) { s.Groups++ })
		g.log.Info().Str("stream", g.key).Str("group", g.cfg.Group).Msg("The consumer group was created at the stream's start")
	case strings.Contains(err.Error(), "BUSYGROUP"): // another worker was faster
	case !strings.Contains(err.Error(), "MKSTREAM"): // what it advises when there is no stream
		return fmt.Errorf("make group %s of %s: %w", g.cfg.Group, g.key, err)
	default:
		if !g.waiting {
			g.log.Info().Str("stream", g.key).Str("group", g.cfg.Group).Msg("Waiting for the agent to create the stream")
		}
		g.waiting = true
		g.pause(ctx, groupWait)
		return nil
	}
	g.waiting = false
	return nil
}

// pause waits, but not when this worker is to leave.
func (g *GroupConsumer) pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-g.leaving:
	case <-ctx.Done():
	}
}

// acknowledge takes finished entries out of the pending list, whoever has them
// there.
func (g *GroupConsumer) acknowledge(ctx context.Context, conn *redis.Conn) error {
	if len(g.finished) == 0 {
		return nil
	}
	err := conn.XAck(ctx, g.key, g.cfg.Group, g.finished...).Err()
	if err != nil && !noGroup(err) {
		return fmt.Errorf("acknowledge %d entries of %s: %w", len(g.finished), g.key, err)
	}
	g.finished = nil
	return nil
}

// resume works on what this worker had in hand when its last session or connection
// ended, so that nobody has to wait until it counts as idle.
func (g *GroupConsumer) resume(ctx context.Context, conn *redis.Conn) error {
	for after := "0"; ctx.Err() == nil && !g.leaves(); {
		entries, err := g.read(ctx, conn, after, -1)
		if err != nil || len(entries) == 0 {
			return err
		}
		if err := g.work(ctx, conn, entries); err != nil {
			return err
		}
		after = entries[len(entries)-1].ID
	}
	return nil
}

// claim takes over what was handed out at least Idle ago and is not finished.
func (g *GroupConsumer) claim(ctx context.Context, conn *redis.Conn) error {
	for next := "0-0"; ctx.Err() == nil && !g.leaves(); {
		// The library's SliceCmd takes any line with a number for an array's length.
		cmd := redis.NewCmd(ctx, "XAUTOCLAIM", g.key, g.cfg.Group, g.cfg.Name, g.cfg.Idle.Milliseconds(), next, "COUNT", g.wanted())
		_ = conn.Process(ctx, cmd) // cmd has the error too
		reply, err := cmd.Slice()
		var c claims
		if err == nil {
			c, err = parseClaims(reply)
		}
		if err != nil {
			return fmt.Errorf("claim idle entries of %s: %w", g.key, err)
		}
		g.trimmed(c.trimmed)
		g.count(func(s *GroupStats) { s.Claimed += uint64(len(c.entries)) })
		if err := g.work(ctx, conn, c.entries); err != nil {
			return err
		}
		if c.unnamed {
			g.resumed = nil // which names them
		}
		if next = c.next; next == "0-0" || next == "" {
			return nil
		}
	}
	return nil
}

// claims are what XAUTOCLAIM found.
type claims struct {
	next    string
	entries []redis.XMessage
	trimmed uint64 // those that are not in the stream any more: Redis 7 forgets and names them
	unnamed bool   // Redis 6.2 claims them too, and does not say which they are
}

var errClaims = errors.New("unexpected reply to XAUTOCLAIM")

// parseClaims is needed because the client library discards which entries were
// trimmed.
func parseClaims(reply []any) (c claims, err error) {
	if len(reply) < 2 {
		return c, errClaims
	}
	next, ok := reply[0].(string)
	found, ok2 := reply[1].([]any)
	if !ok || !ok2 {
		return c, errClaims
	}
	c.next = next
	if len(reply) > 2 {
		gone, _ := reply[2].([]any)
		c.trimmed = uint64(len(gone))
	}
	for _, f := range found {
		entry, _ := f.([]any)
		if len(entry) != 2 {
			c.unnamed = true
			continue
		}
		id, _ := entry[0].(string)
		pairs, _ := entry[1].([]any)
		e := redis.XMessage{ID: id, Values: make(map[string]any, len(pairs)/2)}
		for i := 0; i+1 < len(pairs); i += 2 {
			if field, ok := pairs[i].(string); ok {
				e.Values[field] = pairs[i+1]
			}
		}
		c.entries = append(c.entries, e)
	}
	return c, nil
}

// Pending is how many entries this worker has in hand.
func (g *GroupConsumer) Pending(ctx context.Context, c *redis.Client) (uint64, error) {
	p, err := c.XPending(ctx, g.key, g.cfg.Group).Result()
	switch {
	case noGroup(err):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("count pending entries of %s: %w", g.key, err)
	}
	return uint64(max(p.Consumers[g.cfg.Name], 0)), nil
}

// leave removes this worker from the group, unless entries of its own are still
// pending: deleting it would lose them to the others.
func (g *GroupConsumer) leave(ctx context.Context, conn *redis.Conn) {
	defer g.leftOnce.Do(func() { close(g.left) })
	pending, err := conn.XPendingExt(ctx, &redis.XPendingExtArgs{
		Stream: g.key, Group: g.cfg.Group, Consumer: g.cfg.Name, Start: "-", End: "+", Count: 1,
	}).Result()
	if err != nil || len(pending) > 0 {
		return // a worker without entries costs the group nothing
	}
	if err := conn.XGroupDelConsumer(ctx, g.key, g.cfg.Group, g.cfg.Name).Err(); err != nil {
		g.log.Debug().Err(err).Str("group", g.cfg.Group).Msg("This consumer could not be removed from its group")
	}
}
