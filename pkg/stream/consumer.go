package stream

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

const (
	readBlock   = time.Second     // one XREAD waits that long
	restartWait = 5 * time.Second // a watermark above the stream's end for that long: the stream began anew
)

// ConsumerConfig says what a Consumer reads.
type ConsumerConfig struct {
	Key       string   // the stream
	From      frame.ID // the watermark: entries above it are delivered
	FromStart bool     // with a zero From: begin at the oldest entry, not with new ones
	// Handle gets every entry once, in order: frames, "started", "dropped". The
	// watermark moves on when it returns nil. An error is tried again.
	Handle func(ctx context.Context, m *frame.Message) error
	Log    zerolog.Logger
}

// ConsumerStats accounts for every ID between the first and the watermark.
type ConsumerStats struct {
	Watermark    frame.ID `json:"watermark"`
	Delivered    uint64   `json:"delivered"`     // frames handled
	Declared     uint64   `json:"declared"`      // lost, as a "dropped" entry declares
	Trimmed      uint64   `json:"trimmed"`       // removed from the stream's start before they were read
	Undeclared   uint64   `json:"undeclared"`    // missing without a declaration: must never happen
	Duplicates   uint64   `json:"duplicates"`    // read again and not handled
	Corrupt      uint64   `json:"corrupt"`       // length or checksum wrong, not handled
	UncleanStart uint64   `json:"unclean_start"` // starts after a kill: frames may be unknown
	Restarts     uint64   `json:"restarts"`      // times the stream began anew below the watermark
}

// Consumer reads a camera's stream from a watermark, across sessions, Redis
// restarts and its own. One session's worker runs it at a time.
type Consumer struct {
	reader
	cfg ConsumerConfig

	// Only the worker uses these.
	begun bool
	seen  map[uint64]uint64 // epoch → its highest sequence number passed
	check time.Time         // when to compare the watermark with the stream's end again
	above time.Time         // since when the watermark is above it

	mu    sync.Mutex // guards stats
	stats ConsumerStats
}

// NewConsumer prepares a consumer.
func NewConsumer(cfg ConsumerConfig) *Consumer {
	c := &Consumer{
		reader: reader{key: cfg.Key, log: cfg.Log}, cfg: cfg,
		begun: !cfg.From.IsZero() || cfg.FromStart, seen: map[uint64]uint64{},
	}
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
	return datatransfer.Worker{Name: "read frames", Run: func(ctx context.Context, s *datatransfer.Session) error {
		c.check, c.above = time.Time{}, time.Time{}
		return c.run(ctx, s, c.step)
	}}
}

// step reads once and handles what came.
func (c *Consumer) step(ctx context.Context, conn *redis.Conn) error {
	if !c.begun {
		last, err := redisconn.LastID(ctx, conn, c.key, "+")
		if err != nil {
			return err
		}
		c.begun = true
		c.mu.Lock()
		c.stats.Watermark = last
		c.mu.Unlock()
	}
	after := c.Stats().Watermark.String()
	if after == "" {
		after = "0"
	}
	entries, err := c.entries(ctx, readBlock, func(limit context.Context) *redis.XStreamSliceCmd {
		return conn.XRead(limit, &redis.XReadArgs{Streams: []string{c.key, after}, Count: c.wanted(), Block: readBlock})
	})
	switch {
	case err != nil:
		return err
	case len(entries) == 0:
		return c.checkEnd(ctx, conn)
	}
	c.check, c.above = time.Time{}, time.Time{}
	for i, e := range entries {
		id, err := frame.ParseID(e.ID)
		if err != nil {
			return err
		}
		if seq, ok := c.seen[id.Epoch]; ok && id.Seq <= seq {
			c.pass(id, gap{}, func(s *ConsumerStats) { s.Duplicates++ })
			continue
		}
		if err := c.consume(ctx, conn, id, e.Values, i == 0); err != nil {
			return err
		}
	}
	return nil
}

// consume handles one entry, the first one of a reply or not.
func (c *Consumer) consume(ctx context.Context, conn *redis.Conn, id frame.ID, values map[string]any, first bool) error {
	m, damage := c.message(id, values)
	var h frame.Header // of a damaged entry nothing is believed
	if damage == nil {
		h = m.Header
	}
	g := gapBefore(c.Stats().Watermark, id, h)
	if g.missing > 0 && first { // only before a reply's first entry can something have been trimmed
		var err error
		if g.trimmed, err = c.isFirst(ctx, conn, id); err != nil {
			return err
		}
	}
	if damage != nil {
		c.log.Error().Stringer("id", id).Err(damage).Msg("A stream entry is unreadable and is skipped")
		c.pass(id, g, func(s *ConsumerStats) { s.Corrupt++ })
		return nil
	}
	if err := c.handle(ctx, m); err != nil {
		return err
	}
	c.pass(id, g, func(s *ConsumerStats) {
		switch {
		case h.Status == frame.StatusOK:
			s.Delivered++
		case h.Status == frame.StatusStarted && h.Clean != nil && !*h.Clean:
			s.UncleanStart++
		}
	})
	return nil
}

// handle calls Handle until it succeeds.
func (c *Consumer) handle(ctx context.Context, m *frame.Message) error {
	for failed := false; ; failed = true {
		err := c.cfg.Handle(ctx, m)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !failed:
			c.log.Error().Stringer("id", m.Header.ID).Err(err).Msg("A frame could not be handled; it is tried again every second")
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// checkEnd notices a stream that began anew below our watermark: state and Redis
// were lost together. It is believed after restartWait.
func (c *Consumer) checkEnd(ctx context.Context, conn *redis.Conn) error {
	if time.Now().Before(c.check) {
		return nil
	}
	last, err := redisconn.LastID(ctx, conn, c.key, "+")
	if err != nil {
		return err
	}
	mark := c.Stats().Watermark
	switch {
	case last.IsZero() || !last.Less(mark):
		c.check, c.above = time.Now().Add(restartWait), time.Time{} // seldom: Redis sends the image along
		return nil
	case c.above.IsZero():
		c.above = time.Now()
		return nil
	case time.Since(c.above) < restartWait:
		return nil
	}
	c.log.Warn().Stringer("watermark", mark).Stringer("last", last).Msg("The stream was created again; it is read from its start")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Restarts++
	c.stats.Watermark = frame.ID{}
	c.above = time.Time{}
	return nil
}
