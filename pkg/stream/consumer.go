package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"

	"framekeeper/pkg/datatransfer"
)

const (
	readBlock   = time.Second // one XREAD waits that long
	readBytes   = 2 << 20     // wanted in one reply
	readMost    = 50          // entries in one reply
	readSlack   = 2 * time.Second
	retryWait   = time.Second     // before a refused read is tried again
	restartWait = 5 * time.Second // a watermark above the stream's end for that long: the stream began anew
)

// ConsumerConfig says what a Consumer reads.
type ConsumerConfig struct {
	Key       string   // the stream
	From      frame.ID // the watermark: entries above it are handed over
	FromStart bool     // with a zero From: begin at the oldest entry, not with new ones
	// Handle gets every entry once, in order: frames, "started", "dropped". The
	// watermark moves on when it returns nil. An error is tried again.
	Handle func(ctx context.Context, m *frame.Message) error
	Log    zerolog.Logger
}

// ConsumerStats accounts for every ID between the first and the watermark.
type ConsumerStats struct {
	Watermark    frame.ID `json:"watermark"`
	Delivered    uint64   `json:"delivered"`     // frames handed over
	Declared     uint64   `json:"declared"`      // lost, and a "dropped" entry says so
	Trimmed      uint64   `json:"trimmed"`       // cut off the stream's start before they were read
	Undeclared   uint64   `json:"undeclared"`    // missing without a word: must never happen
	Duplicates   uint64   `json:"duplicates"`    // seen again and not handed over
	Corrupt      uint64   `json:"corrupt"`       // length or checksum wrong, not handed over
	UncleanStart uint64   `json:"unclean_start"` // starts after a kill: frames may be unknown
	Restarts     uint64   `json:"restarts"`      // times the stream began anew below the watermark
}

// Consumer reads a camera's stream from a watermark, across sessions, Redis
// restarts and its own. One session's worker runs it at a time.
type Consumer struct {
	cfg ConsumerConfig

	// Only the worker uses these.
	begun   bool
	mean    float64           // bytes of a frame, 0 before the first
	seen    map[uint64]uint64 // epoch → its highest sequence number passed
	refused bool              // reading is refused, and that was told
	lookAt  time.Time         // when to compare the watermark with the stream's end again
	above   time.Time         // since when the watermark is above it

	mu    sync.Mutex // guards stats
	stats ConsumerStats
}

// NewConsumer prepares a consumer.
func NewConsumer(cfg ConsumerConfig) *Consumer {
	c := &Consumer{cfg: cfg, begun: !cfg.From.IsZero() || cfg.FromStart, seen: map[uint64]uint64{}}
	c.stats.Watermark = cfg.From
	if !cfg.From.IsZero() {
		c.seen[cfg.From.Epoch] = cfg.From.Seq
	}
	return c
}

// Stats accounts for what was read.
func (c *Consumer) Stats() ConsumerStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// Worker reads while a session lasts.
func (c *Consumer) Worker() datatransfer.Worker {
	return datatransfer.Worker{Name: "read frames", Run: c.run}
}

func (c *Consumer) run(ctx context.Context, s *datatransfer.Session) error {
	conn := s.Data().Conn()
	defer func() { _ = conn.Close() }()
	c.lookAt, c.above = time.Time{}, time.Time{}
	for ctx.Err() == nil {
		err := c.step(ctx, conn)
		switch {
		case ctx.Err() != nil:
		case err == nil:
			c.allowed()
		case redisconn.EndsSession(err) || !redisconn.IsReply(err):
			again := afterOverdue(ctx, s, conn, err, c.cfg.Log)
			if again == nil {
				return err
			}
			conn = again
		case !c.waitAllowed(ctx, err):
			return nil
		}
	}
	return nil
}

// step reads once and hands over what came.
func (c *Consumer) step(ctx context.Context, conn *redis.Conn) error {
	if !c.begun {
		last, err := redisconn.LastID(ctx, conn, c.cfg.Key, "+")
		if err != nil {
			return err
		}
		c.begun = true
		c.mu.Lock()
		c.stats.Watermark = last
		c.mu.Unlock()
	}
	entries, err := c.read(ctx, conn)
	switch {
	case err != nil:
		return err
	case len(entries) == 0:
		return c.restarted(ctx, conn)
	default:
		c.lookAt, c.above = time.Time{}, time.Time{}
		return c.take(ctx, conn, entries)
	}
}

// waitAllowed waits before a refused read is tried again; false when ctx ends.
// The link is not to blame for it: others use it.
func (c *Consumer) waitAllowed(ctx context.Context, err error) bool {
	if !c.refused {
		c.cfg.Log.Error().Err(err).Str("stream", c.cfg.Key).Str("advice", redisconn.CauseOf(err).Advice()).
			Msg("Redis refuses to read the stream, trying again every second")
	}
	c.refused = true
	select {
	case <-time.After(retryWait):
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *Consumer) allowed() {
	if c.refused {
		c.cfg.Log.Info().Str("stream", c.cfg.Key).Msg("Redis lets the stream be read again")
	}
	c.refused = false
}

// read waits for entries above the watermark; none after readBlock is nothing
// wrong. The deadline moves on while bytes arrive (see package redisconn), so
// that it bounds silence and not the transfer.
func (c *Consumer) read(ctx context.Context, conn *redis.Conn) ([]redis.XMessage, error) {
	count := int64(1) // fifty unknown frames may be 135 MB
	if c.mean > 0 {
		count = min(max(int64(readBytes/c.mean), 1), readMost)
	}
	after := c.Stats().Watermark.String()
	if after == "" {
		after = "0"
	}
	limit, cancel := context.WithTimeout(ctx, readBlock+readSlack)
	defer cancel()
	streams, err := conn.XRead(limit, &redis.XReadArgs{
		Streams: []string{c.cfg.Key, after}, Count: count, Block: readBlock,
	}).Result()
	switch {
	case err == nil && len(streams) == 1:
		return streams[0].Messages, nil
	case err == nil, errors.Is(err, redis.Nil):
		return nil, nil
	case ctx.Err() != nil:
		return nil, nil
	default:
		return nil, fmt.Errorf("read %s: %w", c.cfg.Key, err)
	}
}

// restarted notices a stream that began anew below our watermark: state and
// Redis were lost together. It is believed after restartWait.
func (c *Consumer) restarted(ctx context.Context, conn *redis.Conn) error {
	if time.Now().Before(c.lookAt) {
		return nil
	}
	last, err := redisconn.LastID(ctx, conn, c.cfg.Key, "+")
	if err != nil {
		return err
	}
	mark := c.Stats().Watermark
	if last.IsZero() || !last.Less(mark) {
		c.lookAt, c.above = time.Now().Add(restartWait), time.Time{} // seldom: Redis sends the image along
		return nil
	}
	if c.above.IsZero() {
		c.above = time.Now()
	}
	if time.Since(c.above) < restartWait {
		return nil
	}
	c.cfg.Log.Warn().Stringer("watermark", mark).Stringer("last", last).Msg("the stream began anew, reading it from its start")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Restarts++
	c.stats.Watermark = frame.ID{}
	c.above = time.Time{}
	return nil
}
