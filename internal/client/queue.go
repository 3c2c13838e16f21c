package client

import (
	"context"
	"sync/atomic"

	"framekeeper/pkg/frame"
)

// queueMaxBytes bounds the queue in memory, whatever queue_size allows.
const queueMaxBytes = 256 << 20

// queue holds published frames that wait to be stored.
type queue struct {
	items chan queued
	bytes atomic.Int64 // of items, and of those being stored
	open  atomic.Int64 // pushed and not yet stored
}

type queued struct {
	feed *feed
	m    *frame.Message
}

func newQueue(size int) *queue { return &queue{items: make(chan queued, size)} }

// push never waits; it says whether there was room.
func (q *queue) push(f *feed, m *frame.Message) bool {
	size := int64(m.Size())
	if q.bytes.Add(size) > queueMaxBytes {
		q.bytes.Add(-size)
		return false
	}
	q.open.Add(1)
	select {
	case q.items <- queued{f, m}:
		return true
	default:
		q.open.Add(-1)
		q.bytes.Add(-size)
		return false
	}
}

// drain stores what is pushed until ctx ends.
func (q *queue) drain(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case item := <-q.items:
			if err := item.feed.keep(ctx, item.m); err != nil { // ctx has ended
				item.feed.counts.dropped.Add(1)
				return
			}
			q.bytes.Add(-int64(item.m.Size()))
			q.open.Add(-1)
		}
	}
}

func (q *queue) empty() bool { return q.open.Load() == 0 }

// abandon counts what is left when nobody drains any more.
func (q *queue) abandon() {
	for {
		select {
		case item := <-q.items:
			item.feed.counts.dropped.Add(1)
		default:
			return
		}
	}
}
