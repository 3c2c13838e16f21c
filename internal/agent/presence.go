package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/internal/async"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

// presenceConfig configures how an agent publishes its presence.
type presenceConfig struct {
	Key      string        // of the status, which expires after three intervals
	Topic    string        // gets it published
	Interval time.Duration // of both
	Instance string
	Owner    string
	Status   func() any // marshalled to JSON; must contain Instance and Owner
	Change   async.Wake // the status is to be shown now
	Log      zerolog.Logger
}

// presence renews status:<camera> and refuses to start beside another live agent.
type presence struct {
	presenceConfig

	noRival   bool        // none was alive at the start: see admit
	withdrawn atomic.Bool // the status is not shown again

	mu      sync.Mutex // guards all below; held while a status is shown
	refused bool       // Redis refuses the status
	rival   string     // the last one that was logged
}

// read reads the status as it stands in Redis.
func (p *presence) read(ctx context.Context, r redis.Cmdable) (reading, error) {
	text, err := r.Get(ctx, p.Key).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return reading{}, nil
	case err != nil && redisconn.EndsSession(err):
		return reading{}, fmt.Errorf("read %s: %w", p.Key, err)
	case err != nil:
		return reading{hidden: true}, nil
	}
	left, err := r.PTTL(ctx, p.Key).Result()
	if err != nil {
		left = 0
	}
	return newReading(text, left), nil
}

// set replaces the status and returns the one before.
func (p *presence) set(ctx context.Context, r redis.Cmdable, text []byte) (old string, err error) {
	old, err = r.SetArgs(ctx, p.Key, text, redis.SetArgs{TTL: 3 * p.Interval, Get: true}).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", fmt.Errorf("set %s: %w", p.Key, err)
	}
	return old, nil
}

// worker renews the status at every interval and at every change.
func (p *presence) worker() datatransfer.Worker {
	return datatransfer.Worker{Name: "show status", Run: func(ctx context.Context, s *datatransfer.Session) error { return p.run(ctx, s.Data()) }}
}

func (p *presence) run(ctx context.Context, r redis.Cmdable) error {
	tick := time.NewTicker(p.Interval)
	defer tick.Stop()
	for {
		if err := p.show(ctx, r); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-p.Change:
		case <-ctx.Done():
			return nil
		}
	}
}

// show writes and publishes the status once. The worker does, and the end of an agent
// whose camera was given up.
func (p *presence) show(ctx context.Context, r redis.Cmdable) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.withdrawn.Load() {
		return nil
	}
	text, err := json.Marshal(p.Status())
	if err != nil {
		return fmt.Errorf("encode status: %w", err)
	}
	if err := redisconn.CheckArgument(text); err != nil {
		p.warn(fmt.Errorf("the status has %w", err))
		return nil
	}
	old, notSet := p.set(ctx, r, text)
	if redisconn.EndsSession(notSet) {
		return notSet
	}
	p.reportRival(old)
	// Under OOM the key cannot be set, but subscribers can get the status and the reason.
	if err := r.Publish(ctx, p.Topic, text).Err(); err != nil {
		return p.report(fmt.Errorf("publish %s: %w", p.Topic, err))
	}
	if notSet != nil {
		return p.report(notSet)
	}
	p.refused = false
	return nil
}

// withdraw removes the status at an orderly end, if it is still ours: the agent
// is gone at once, and not only when the key expires.
func (p *presence) withdraw(ctx context.Context, r redis.Cmdable) error {
	p.withdrawn.Store(true)
	i, err := p.read(ctx, r)
	if err != nil || i.Instance != p.Instance {
		return err
	}
	if err := r.Del(ctx, p.Key).Err(); err != nil {
		return fmt.Errorf("remove %s: %w", p.Key, err)
	}
	return nil
}

// report returns what ends the session and logs, once, what does not.
func (p *presence) report(err error) error {
	if redisconn.EndsSession(err) {
		return err
	}
	p.warn(err)
	return nil
}

// warn logs, once, why the status is not shown. The caller holds mu.
func (p *presence) warn(err error) {
	if !p.refused {
		p.Log.Warn().Err(err).Str("advice", redisconn.CauseOf(err).Advice()).Msg("Redis refuses the status")
	}
	p.refused = true
}

// reportRival reports an agent that was started beside this one by force.
func (p *presence) reportRival(old string) {
	i := newReading(old, 0)
	if !p.foreign(i) || i.Instance == p.rival {
		return
	}
	p.rival = i.Instance
	p.Log.Error().Str("host", i.Host).Int("pid", i.PID).
		Msg("Another agent publishes its status under this camera's name: stop one of them")
}
