package agent

import (
	"context"
	"sync"
	"time"

	"framekeeper/internal/status"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

// groups asks Redis how far the stream's readers are, so that an operator sees
// who lags.
type groups struct {
	key      string
	interval time.Duration

	mu  sync.Mutex // guards all
	all []status.ConsumerGroup
}

func (g *groups) list() []status.ConsumerGroup {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]status.ConsumerGroup{}, g.all...)
}

// run is a worker of the session. A stream that is not there, or a command that
// is not permitted, leaves the list empty.
func (g *groups) run(ctx context.Context, s *datatransfer.Session) error {
	tick := time.NewTicker(g.interval)
	defer tick.Stop()
	for {
		infos, err := s.Data().XInfoGroups(ctx, g.key).Result()
		if err != nil && redisconn.EndsSession(err) {
			return err
		}
		all := make([]status.ConsumerGroup, len(infos))
		for i, info := range infos {
			all[i] = status.ConsumerGroup{
				Name: info.Name, Consumers: info.Consumers, Pending: info.Pending, Last: info.LastDeliveredID, Lag: info.Lag,
			}
		}
		g.mu.Lock()
		g.all = all
		g.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (a *agent) spoolStatus() *status.Spool {
	if a.spool == nil {
		return nil
	}
	s := &status.Spool{Stats: a.spool.Stats()}
	if since := a.spooler.Hanging(); since > hangAfter {
		s.HangingS = since.Seconds()
	}
	if !s.OldestAt.IsZero() {
		s.AgeS = max(time.Since(s.OldestAt).Seconds(), 0) // OldestAt is rounded
	}
	return s
}
