package datatransfer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
)

// GroupConfig says which pool of workers reads which stream.
type GroupConfig struct {
	Key   string
	Group string        // the pool: its workers share the frames
	Name  string        // this worker, alone of that name in the pool
	Idle  time.Duration // an entry not finished for so long is taken over by another worker
	Tries int           // an entry that failed so often is set aside
	// Handle finishes one entry, frames, "started" and "dropped" alike. An entry
	// whose Handle fails is given to some worker again after Idle.
	Handle func(ctx context.Context, m *frame.Message) error
	// Poison is told of an entry that failed Tries times or is unreadable (m is
	// nil then), before it is taken out of the pool's way.
	Poison func(id frame.ID, m *frame.Message, err error)
	Log    zerolog.Logger
}

// GroupStats counts entries, as this worker saw them.
type GroupStats struct {
	Handled  uint64 `json:"handled"`  // finished
	Failed   uint64 `json:"failed"`   // attempts that failed
	Claimed  uint64 `json:"claimed"`  // taken over from a worker that did not finish them
	Poisoned uint64 `json:"poisoned"` // set aside
	Declared uint64 `json:"declared"` // frames that a "dropped" entry named
	Groups   uint64 `json:"groups"`   // times the pool had to be made (again)
}

// GroupConsumer is one worker of a pool that shares one camera's frames: each
// entry is finished at least once, by some worker. It never makes the stream;
// a pool that vanished with it is made again at the stream's start.
type GroupConsumer struct {
	cfg GroupConfig

	mean float64 // only the worker

	mu    sync.Mutex // guards stats
	stats GroupStats
}

// NewGroupConsumer prepares a worker. Zero Idle and Tries become 30 s and 5.
func NewGroupConsumer(cfg GroupConfig) *GroupConsumer {
	if cfg.Idle == 0 {
		cfg.Idle = 30 * time.Second
	}
	if cfg.Tries == 0 {
		cfg.Tries = 5
	}
	return &GroupConsumer{cfg: cfg}
}

// Stats counts what this worker did.
func (g *GroupConsumer) Stats() GroupStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stats
}

func (g *GroupConsumer) count(f func(*GroupStats)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(&g.stats)
}

// Worker reads while a session lasts.
func (g *GroupConsumer) Worker() Worker { return Worker{Name: "share frames", Run: g.run} }

func (g *GroupConsumer) run(ctx context.Context, s *Session) error {
	conn := s.Data().Conn()
	defer func() { _ = conn.Close() }()
	swept := time.Time{}
	for ctx.Err() == nil {
		if time.Since(swept) > g.cfg.Idle/2 {
			if err := g.claim(ctx, conn); err != nil {
				return err
			}
			swept = time.Now()
		}
		entries, err := g.read(ctx, conn)
		if noGroup(err) {
			err = g.create(ctx, conn)
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		for _, e := range entries {
			if err := g.finish(ctx, conn, e, 1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *GroupConsumer) wanted() int64 {
	if g.mean == 0 {
		return readMost
	}
	return min(max(int64(readBytes/g.mean), 1), readMost)
}

func (g *GroupConsumer) read(ctx context.Context, conn *redis.Conn) ([]redis.XMessage, error) {
	limit, cancel := context.WithTimeout(ctx, readBlock+readSlack)
	defer cancel()
	streams, err := conn.XReadGroup(limit, &redis.XReadGroupArgs{
		Group: g.cfg.Group, Consumer: g.cfg.Name, Streams: []string{g.cfg.Key, ">"}, Count: g.wanted(), Block: readBlock,
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
	for ctx.Err() == nil {
		err := conn.XGroupCreate(ctx, g.cfg.Key, g.cfg.Group, "0").Err()
		switch {
		case err == nil:
			g.count(func(s *GroupStats) { s.Groups++ })
			g.cfg.Log.Info().Str("stream", g.cfg.Key).Str("group", g.cfg.Group).Msg("the group was made, at the stream's start")
			return nil
		case strings.Contains(err.Error(), "BUSYGROUP"):
			return nil
		case !strings.Contains(err.Error(), "MKSTREAM") && !noGroup(err):
			return fmt.Errorf("make group %s of %s: %w", g.cfg.Group, g.cfg.Key, err)
		}
		select { // no stream yet: it is the agent's to make
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return nil
}

// finish handles one entry and takes it out of the pool's pending list.
func (g *GroupConsumer) finish(ctx context.Context, conn *redis.Conn, e redis.XMessage, tries int) error {
	id, err := frame.ParseID(e.ID)
	if err != nil {
		return err
	}
	head, _ := e.Values["header"].(string)
	image, _ := e.Values["image"].(string)
	g.mean += (float64(len(image)) - g.mean) / 8
	m, err := frame.JoinMessage([]byte(head), []byte(image))
	switch {
	case err != nil:
		g.poison(id, nil, err)
	case tries > g.cfg.Tries:
		g.poison(id, m, fmt.Errorf("failed %d times", tries-1))
	default:
		if err := g.cfg.Handle(ctx, m); err != nil {
			if ctx.Err() == nil {
				g.count(func(s *GroupStats) { s.Failed++ })
				g.cfg.Log.Warn().Stringer("id", id).Int("try", tries).Err(err).Msg("frame could not be handled, it stays pending")
			}
			return nil
		}
		g.count(func(s *GroupStats) {
			s.Handled++
			if m.Header.Status == frame.StatusDropped {
				s.Declared += m.Header.Count
			}
		})
	}
	if err := conn.XAck(ctx, g.cfg.Key, g.cfg.Group, e.ID).Err(); err != nil && !noGroup(err) {
		return fmt.Errorf("acknowledge %s: %w", id, err)
	}
	return nil
}

func (g *GroupConsumer) poison(id frame.ID, m *frame.Message, err error) {
	g.count(func(s *GroupStats) { s.Poisoned++ })
	g.cfg.Log.Error().Stringer("id", id).Err(err).Msg("frame is set aside")
	if g.cfg.Poison != nil {
		g.cfg.Poison(id, m, err)
	}
}

// claim takes over what other workers, or this one before a restart, did not
// finish.
func (g *GroupConsumer) claim(ctx context.Context, conn *redis.Conn) error {
	for next := "0-0"; ctx.Err() == nil; {
		entries, after, err := g.autoClaim(ctx, conn, next)
		switch {
		case noGroup(err) || ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("claim idle entries of %s: %w", g.cfg.Key, err)
		}
		g.count(func(s *GroupStats) { s.Claimed += uint64(len(entries)) })
		tries, err := g.tries(ctx, conn, entries)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := g.finish(ctx, conn, e, tries[e.ID]); err != nil {
				return err
			}
		}
		if next = after; next == "0-0" || next == "" {
			return nil
		}
	}
	return nil
}

// autoClaim takes over idle entries. Those that were trimmed while pending are
// in the pending list until then and in no reply.
func (g *GroupConsumer) autoClaim(ctx context.Context, conn *redis.Conn, start string) ([]redis.XMessage, string, error) {
	return conn.XAutoClaim(ctx, &redis.XAutoClaimArgs{
		Stream: g.cfg.Key, Group: g.cfg.Group, Consumer: g.cfg.Name, MinIdle: g.cfg.Idle, Start: start, Count: g.wanted(),
	}).Result()
}

// tries says how often each claimed entry has been handed out.
func (g *GroupConsumer) tries(ctx context.Context, conn *redis.Conn, entries []redis.XMessage) (map[string]int, error) {
	out := map[string]int{}
	if len(entries) == 0 {
		return out, nil
	}
	pending, err := conn.XPendingExt(ctx, &redis.XPendingExtArgs{
		Stream: g.cfg.Key, Group: g.cfg.Group, Consumer: g.cfg.Name,
		Start: entries[0].ID, End: entries[len(entries)-1].ID, Count: int64(4 * len(entries)),
	}).Result()
	if err != nil {
		return nil, fmt.Errorf("count tries of pending entries: %w", err)
	}
	for _, p := range pending {
		out[p.ID] = int(p.RetryCount)
	}
	return out, nil
}
