package rpc

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/pkg/redisconn"

	"framekeeper/pkg/datatransfer"
)

// Worker publishes what is asked, and asks again what is not answered.
func (r *Client) Worker() datatransfer.Worker {
	return datatransfer.Worker{Name: "publish requests", Run: r.run}
}

func (r *Client) run(ctx context.Context, s *datatransfer.Session) error {
	r.overdue() // what an earlier session sent may never have arrived
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		due, next := r.due(time.Now())
		if len(due) > 0 {
			if err := r.publish(ctx, s, due); err != nil {
				return err
			}
			continue
		}
		timer.Reset(next)
		select {
		case <-r.wake:
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// publish sends requests in one round trip. One that Redis refuses is tried
// again like one that is not answered: the link is not to blame.
func (r *Client) publish(ctx context.Context, s *datatransfer.Session, due []*ask) error {
	replies := make([]*redis.IntCmd, len(due))
	_, _ = s.Data().Pipelined(ctx, func(p redis.Pipeliner) error { // each reply has its own error
		for i, a := range due {
			replies[i] = p.Publish(ctx, r.cfg.RequestTopic, a.payload)
		}
		return nil
	})
	for i, a := range due {
		n, err := replies[i].Result()
		if redisconn.EndsSession(err) {
			return fmt.Errorf("publish request: %w", err)
		}
		r.sent(a, n, err)
	}
	return nil
}

// due lists what is to be sent now, and says how long until the next one is.
func (r *Client) due(now time.Time) (due []*ask, next time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next = time.Hour
	for _, a := range r.asks {
		if wait := a.due.Sub(now); wait > 0 {
			next = min(next, wait)
		} else {
			due = append(due, a)
		}
	}
	slices.SortFunc(due, func(a, b *ask) int { return cmp.Compare(a.order, b.order) })
	return due, next
}

func (r *Client) sent(a *ask, receivers int64, refused error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.refused = refused; refused == nil {
		a.heard = receivers
	}
	a.wait = min(max(2*a.wait, repeatAfter), repeatMost)
	a.due = time.Now().Add(a.wait)
}

func (r *Client) overdue() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.asks {
		a.due, a.wait = time.Time{}, 0
	}
}
