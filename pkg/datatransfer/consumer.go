package datatransfer

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
)

const (
	readBlock   = time.Second // one XREAD waits that long
	readBytes   = 2 << 20     // wanted in one reply
	readMost    = 50          // entries in one reply
	readSlack   = 2 * time.Second
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
	begun bool
	mean  float64
	above time.Time // since when the watermark is above the stream's end

	mu    sync.Mutex // guards stats
	stats ConsumerStats
}

// NewConsumer prepares a consumer.
func NewConsumer(cfg ConsumerConfig) *Consumer {
	return &Consumer{cfg: cfg, begun: !cfg.From.IsZero() || cfg.FromStart, stats: ConsumerStats{Watermark: cfg.From}}
}

// Stats accounts for what was read.
func (c *Consumer) Stats() ConsumerStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// Worker reads while a session lasts.
func (c *Consumer) Worker() Worker { return Worker{Name: "read frames", Run: c.run} }

func (c *Consumer) run(ctx context.Context, s *Session) error {
	conn := s.Data().Conn()
	defer func() { _ = conn.Close() }()
	if !c.begun {
		last, err := lastID(ctx, conn, c.cfg.Key)
		if err != nil {
			return err
		}
		c.begun = true
		c.mu.Lock()
		c.stats.Watermark = last
		c.mu.Unlock()
	}
	for ctx.Err() == nil {
		entries, err := c.read(ctx, conn)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			err = c.restarted(ctx, conn)
		} else {
			c.above = time.Time{}
			err = c.take(ctx, conn, entries)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func lastID(ctx context.Context, conn *redis.Conn, key string) (frame.ID, error) {
	last, err := conn.XRevRangeN(ctx, key, "+", "-", 1).Result()
	if err != nil {
		return frame.ID{}, fmt.Errorf("read last entry of %s: %w", key, err)
	}
	if len(last) == 0 {
		return frame.ID{}, nil
	}
	return frame.ParseID(last[0].ID)
}

// read waits for entries above the watermark; none after readBlock is nothing
// wrong. The deadline moves on while bytes arrive (see package redisconn), so
// that it bounds silence and not the transfer.
func (c *Consumer) read(ctx context.Context, conn *redis.Conn) ([]redis.XMessage, error) {
	count := int64(readMost)
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
	case redisconn.CauseOf(err) == redisconn.CauseReadOnly: // UNBLOCKED: the node became a replica
		return nil, fmt.Errorf("read %s: %w", c.cfg.Key, err)
	default:
		return nil, fmt.Errorf("read %s: %w", c.cfg.Key, err)
	}
}

// take hands a reply's entries over, one after the other.
func (c *Consumer) take(ctx context.Context, conn *redis.Conn, entries []redis.XMessage) error {
	for i, e := range entries {
		id, err := frame.ParseID(e.ID)
		if err != nil {
			return err
		}
		head, _ := e.Values["header"].(string)
		image, _ := e.Values["image"].(string)
		c.mean += (float64(len(image)) - c.mean) / 8
		m, err := frame.JoinMessage([]byte(head), []byte(image))
		if err != nil || m.Header.ID != id {
			c.corrupt(id, err)
			continue
		}
		if i == 0 { // only before a reply's first entry can something have been trimmed
			if err := c.account(ctx, conn, m); err != nil {
				return err
			}
		} else {
			c.gap(m, id)
		}
		if err := c.handle(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// handle hands one entry over until it is taken.
func (c *Consumer) handle(ctx context.Context, m *frame.Message) error {
	for failed := false; ; failed = true {
		err := c.cfg.Handle(ctx, m)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !failed {
			c.cfg.Log.Error().Stringer("id", m.Header.ID).Err(err).Msg("frame could not be handled, trying again every second")
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Watermark = m.Header.ID
	switch m.Header.Status {
	case frame.StatusOK:
		c.stats.Delivered++
	case frame.StatusStarted:
		if m.Header.Clean != nil && !*m.Header.Clean {
			c.stats.UncleanStart++
		}
	default:
	}
	return nil
}

// account classes the gap before a reply's first entry: below the stream's
// first entry it was trimmed.
func (c *Consumer) account(ctx context.Context, conn *redis.Conn, m *frame.Message) error {
	first, err := conn.XRangeN(ctx, c.cfg.Key, "-", "+", 1).Result()
	if err != nil {
		return fmt.Errorf("read first entry of %s: %w", c.cfg.Key, err)
	}
	oldest := m.Header.ID
	if len(first) > 0 {
		if oldest, err = frame.ParseID(first[0].ID); err != nil {
			return err
		}
	}
	c.gap(m, oldest)
	return nil
}

// gap compares an entry with the watermark. oldest is the stream's first ID.
func (c *Consumer) gap(m *frame.Message, oldest frame.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	mark, id := c.stats.Watermark, m.Header.ID
	if mark.IsZero() {
		return
	}
	next := mark.Next()
	if id.Epoch != mark.Epoch {
		next = frame.ID{Epoch: id.Epoch, Seq: 1}
		if m.Header.Status == frame.StatusStarted {
			next.Seq = 0
		}
	}
	missing := uint64(0)
	if next.Seq < id.Seq {
		missing = id.Seq - next.Seq
	}
	if m.Header.Status == frame.StatusDropped {
		// It stands at the last lost ID, which is lost too.
		c.stats.Declared += missing + 1
		return
	}
	switch {
	case missing == 0:
	case !oldest.Less(id):
		c.stats.Trimmed += missing
	default:
		c.stats.Undeclared += missing
		c.cfg.Log.Error().Stringer("after", mark).Stringer("before", id).Uint64("frames", missing).
			Msg("frames are missing from the stream and nobody declared them lost")
	}
}

func (c *Consumer) corrupt(id frame.ID, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Corrupt++
	c.stats.Watermark = id
	c.cfg.Log.Error().Stringer("id", id).Err(err).Msg("stream entry is unreadable, passing over it")
}

// restarted notices a stream that began anew below our watermark: state and
// Redis were lost together. It is believed after restartWait.
func (c *Consumer) restarted(ctx context.Context, conn *redis.Conn) error {
	last, err := lastID(ctx, conn, c.cfg.Key)
	if err != nil {
		return err
	}
	mark := c.Stats().Watermark
	if last.IsZero() || !last.Less(mark) {
		c.above = time.Time{}
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
