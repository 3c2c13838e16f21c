package agent

import (
	"context"
	"sync"
	"time"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
	"framekeeper/pkg/spool"
)

// groupStatus is how far one pool of readers is.
type groupStatus struct {
	Name      string `json:"name"`
	Consumers int64  `json:"consumers"`
	Pending   int64  `json:"pending"` // handed out, not finished
	Last      string `json:"last"`    // last ID handed out
	Lag       int64  `json:"lag"`     // entries not handed out yet; -1: Redis cannot tell
}

// groups asks Redis how far the stream's readers are, so that an operator sees
// who lags.
type groups struct {
	key      string
	interval time.Duration

	mu  sync.Mutex // guards all
	all []groupStatus
}

func (g *groups) list() []groupStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]groupStatus{}, g.all...)
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
		all := make([]groupStatus, len(infos))
		for i, info := range infos {
			all[i] = groupStatus{info.Name, info.Consumers, info.Pending, info.LastDeliveredID, info.Lag}
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

// spoolStatus is what waits on disk.
type spoolStatus struct {
	spool.Stats
	AgeS     float64 `json:"age_s"`               // of the oldest frame
	HangingS float64 `json:"hanging_s,omitempty"` // the disk has not answered for so long
}

func (a *agent) spoolStatus() *spoolStatus {
	if a.spool == nil {
		return nil
	}
	s := &spoolStatus{Stats: a.spool.Stats()}
	if since := a.spooler.Hanging(); since > hangAfter {
		s.HangingS = since.Seconds()
	}
	if !s.OldestAt.IsZero() {
		s.AgeS = max(time.Since(s.OldestAt).Seconds(), 0) // OldestAt is rounded
	}
	return s
}
