package stream

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/redisconn"
)

// Entry is one entry of a stream: its fields and their values.
type Entry struct {
	ID     frame.ID
	Values map[string]any
}

// Source is the stream that a Consumer reads. The zero ID means "none" in all
// three.
type Source interface {
	// Read returns up to n entries above an ID, oldest first, and waits up to block
	// for the first of them. No entry is no error.
	Read(ctx context.Context, after frame.ID, n int64, block time.Duration) ([]Entry, error)
	// First is the ID of the oldest entry.
	First(ctx context.Context) (frame.ID, error)
	// Last is the ID of the newest entry.
	Last(ctx context.Context) (frame.ID, error)
}

// redisSource is a stream on one connection.
type redisSource struct {
	conn *redis.Conn
	key  string
}

var _ Source = redisSource{}

// Read is XREAD, which waits for ever when asked to wait for no time.
func (s redisSource) Read(ctx context.Context, after frame.ID, n int64, block time.Duration) ([]Entry, error) {
	from := after.String()
	if after.IsZero() {
		from = "0"
	}
	if block == 0 {
		block = -1
	}
	found, err := readEntries(ctx, s.key, block, func(limit context.Context) *redis.XStreamSliceCmd {
		return s.conn.XRead(limit, &redis.XReadArgs{Streams: []string{s.key, from}, Count: n, Block: block})
	})
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, len(found))
	for i, e := range found {
		if entries[i].ID, err = frame.ParseID(e.ID); err != nil {
			return nil, fmt.Errorf("read ID of an entry of %s: %w", s.key, err)
		}
		entries[i].Values = e.Values
	}
	return entries, nil
}

func (s redisSource) First(ctx context.Context) (frame.ID, error) {
	first, err := s.conn.XRangeN(ctx, s.key, "-", "+", 1).Result()
	if err != nil {
		return frame.ID{}, fmt.Errorf("read first entry of %s: %w", s.key, err)
	}
	if len(first) == 0 {
		return frame.ID{}, nil
	}
	return frame.ParseID(first[0].ID)
}

func (s redisSource) Last(ctx context.Context) (frame.ID, error) {
	return redisconn.LastID(ctx, s.conn, s.key, "+")
}
