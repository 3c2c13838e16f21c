package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/internal/async"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
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
	Now    func() time.Time // nil: time.Now
	Log    zerolog.Logger
}

// ErrUnhandled is what Step fails with when Handle does.
var ErrUnhandled = errors.New("entry not handled")

var errAgain = errors.New("the stream has changed since it was read")

// ConsumerStats accounts for every ID between the first and the watermark, each in
// one figure. A frame that comes after it was counted missing is delivered then.
type ConsumerStats struct {
	Watermark    frame.ID `json:"watermark"`
	Delivered    uint64   `json:"delivered"`     // frames handled
	Declared     uint64   `json:"declared"`      // lost, as a "dropped" entry declares
	Trimmed      uint64   `json:"trimmed"`       // removed from the stream's start before they were read
	Unknown      uint64   `json:"unknown"`       // gaps of unknown length: starts after a kill, ends of epochs that were trimmed
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
	begun    bool
	held     []Entry // read and not passed yet
	fresh    bool    // the first of them was the first of a reply
	trimmed  bool    // what is missing before it was removed from the stream's start
	failing  bool    // it cannot be handled, and that was logged
	passages ledger
	check    time.Time // when to compare the watermark with the stream's end again
	above    time.Time // since when the watermark is above it
	again    frame.ID  // the entry that the stream was last read again for

	mu    sync.Mutex // guards stats
	stats ConsumerStats
}

// NewConsumer prepares a consumer.
func NewConsumer(cfg ConsumerConfig) *Consumer {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Consumer{
		reader: reader{key: cfg.Key, log: cfg.Log}, cfg: cfg,
		begun: !cfg.From.IsZero() || cfg.FromStart, passages: ledger{},
	}
	c.beginAfter(cfg.From)
	return c
}

// beginAfter sets the watermark. What was passed before is this consumer's business
// no more than what an earlier one handled.
func (c *Consumer) beginAfter(id frame.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Watermark = id
	if !id.IsZero() {
		c.passages[id.Epoch] = &passage{high: id.Seq}
	}
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
		return c.run(ctx, s, c.attempt)
	}}
}

// attempt takes a step; an entry that cannot be handled is tried again after a pause.
func (c *Consumer) attempt(ctx context.Context, conn *redis.Conn) error {
	err := c.Step(ctx, redisSource{conn, c.key})
	if !errors.Is(err, ErrUnhandled) {
		return err
	}
	if !c.failing {
		c.log.Error().Stringer("id", c.held[0].ID).Err(err).Msg("A frame could not be handled; it is tried again every second")
	}
	c.failing = true
	async.Pause(ctx, retryWait)
	return nil
}

// Step reads once, and handles what came. It waits for nothing but the source: an
// error that wraps ErrUnhandled is Handle's, and the next step begins with that
// entry. A Consumer without a Worker is driven by calling Step, by one goroutine.
func (c *Consumer) Step(ctx context.Context, s Source) error {
	if len(c.held) == 0 {
		if err := c.read(ctx, s); err != nil {
			return err
		}
	}
	for len(c.held) > 0 {
		err := c.consume(ctx, s, c.held[0])
		if errors.Is(err, errAgain) {
			c.held = nil
			return nil
		}
		if err != nil {
			return err
		}
		c.held, c.fresh, c.trimmed, c.failing = c.held[1:], false, false, false
	}
	c.held = nil
	return nil
}

// read holds what the source has above the watermark.
func (c *Consumer) read(ctx context.Context, s Source) error {
	if !c.begun {
		last, err := s.Last(ctx)
		if err != nil {
			return err
		}
		c.begun = true
		c.beginAfter(last)
	}
	mark := c.Stats().Watermark
	entries, err := s.Read(ctx, mark, c.wanted(), readBlock)
	switch {
	case err != nil:
		return err
	case len(entries) == 0:
		return c.checkEnd(ctx, s)
	}
	c.check, c.above = time.Time{}, time.Time{}
	c.held, c.fresh = entries, true
	return nil
}

// consume handles one entry.
func (c *Consumer) consume(ctx context.Context, s Source, e Entry) error {
	m, damage := c.message(e.ID, e.Values)
	h := &frame.Header{} // of a damaged entry nothing is believed
	if damage == nil {
		h = &m.Header
	}
	if c.passages.passed(e.ID) && c.passages.duplicate(e.ID, h, damage != nil) {
		c.passAgain(e.ID)
		return nil
	}
	mark := c.Stats().Watermark
	if c.passages.skipped(mark, h) && c.again != e.ID {
		c.again = e.ID
		c.beginAgain(mark, e.ID)
		return errAgain
	}
	g := c.passages.gapBefore(mark, e.ID, h)
	if c.fresh && (g.missing() > 0 || g.open) { // only before a reply's first entry can something have been trimmed
		var err error
		if c.trimmed, err = wasTrimmed(ctx, s, mark, e.ID); err != nil {
			return err
		}
	}
	c.fresh = false // that holds as it was when the entry was read, however long Handle takes
	if damage != nil {
		c.log.Error().Stringer("id", e.ID).Err(damage).Msg("A stream entry is unreadable and is skipped")
	} else if err := c.cfg.Handle(ctx, m); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %w", ErrUnhandled, err)
	}
	c.pass(e.ID, g, h, damage != nil)
	return nil
}

// checkEnd notices a stream that began anew below our watermark: state and Redis
// were lost together. It is believed after restartWait.
func (c *Consumer) checkEnd(ctx context.Context, s Source) error {
	now := c.cfg.Now()
	if now.Before(c.check) {
		return nil
	}
	last, err := s.Last(ctx)
	if err != nil {
		return err
	}
	mark := c.Stats().Watermark
	switch {
	case last.IsZero() || !last.Less(mark):
		c.check, c.above = now.Add(restartWait), time.Time{} // seldom: Redis sends the image along
		return nil
	case c.above.IsZero():
		c.above = now
		return nil
	case now.Sub(c.above) < restartWait:
		return nil
	}
	c.beginAgain(mark, last)
	return nil
}

// beginAgain reads a stream that began anew from its start; what was passed is passed
// over.
func (c *Consumer) beginAgain(mark, id frame.ID) {
	c.log.Warn().Stringer("watermark", mark).Stringer("last", id).Msg("The stream was created again; it is read from its start")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Restarts++
	c.stats.Watermark = frame.ID{}
	c.above = time.Time{}
}
