package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/internal/async"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/redisconn"
)

// presencePoll is how often a start reads a foreign status, to see whether it is
// renewed.
const presencePoll = 100 * time.Millisecond

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

	noRival   bool        // none was alive at the start
	withdrawn atomic.Bool // the status is not shown again

	mu      sync.Mutex // guards all below; held while a status is shown
	refused bool       // Redis refuses the status
	rival   string     // the last one that was logged
}

// identity are the keys of a status by which agents differ.
type identity struct {
	Instance string `json:"instance"`
	Owner    string `json:"owner"`
	Host     string `json:"host"`
	PID      int    `json:"pid"`
	Boot     string `json:"boot"` // of the machine: no two share it, nor two starts of one
	TimeUS   int64  `json:"time_us"`
}

// bootID names this start of this machine; "" where it is unknown. Boxes made
// from one image share host name and state directory, but not this.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// dead reports whether the status is from a process that cannot live any more:
// one of our own state directory, which we have locked, or one of this machine
// whose process is not there, as after a kill where the directory does not persist.
// Whether another machine's process lives is unknown, however alike the machines are.
func (i *identity) dead(owner string) bool {
	if boot := bootID(); i.Boot != "" && boot != "" && i.Boot != boot {
		return false
	}
	host, err := os.Hostname()
	return i.Owner == owner ||
		err == nil && i.Host == host && i.PID > 0 && errors.Is(syscall.Kill(i.PID, 0), syscall.ESRCH)
}

// admit checks, once, whether another agent is alive: one whose status comes from
// another state directory and is renewed meanwhile. A status that is not renewed
// belongs to a dead agent and is replaced when it expires.
func (p *presence) admit(ctx context.Context, r redis.Cmdable) error {
	if p.noRival {
		return nil
	}
	first, left, err := p.read(ctx, r)
	if err != nil {
		return err
	}
	if first == nil || first.Instance == p.Instance || first.dead(p.Owner) {
		p.noRival = true
		return nil
	}
	p.Log.Warn().Str("host", first.Host).Int("pid", first.PID).Int64("for_ms", left.Milliseconds()).
		Msg("Another agent's status is in Redis; checking whether it is renewed")
	for {
		if !async.Pause(ctx, presencePoll) {
			return ctx.Err()
		}
		now, _, err := p.read(ctx, r)
		switch {
		case err != nil:
			return err
		case now == nil:
			p.noRival = true
			return nil
		case now.TimeUS != first.TimeUS || now.Instance != first.Instance:
			return &datatransfer.FatalError{Err: fmt.Errorf("%w: process %d on host %s answers for it over the same Redis; stop one of them, or give this camera another name",
				outbox.ErrClaimed, now.PID, now.Host)}
		}
	}
}

// read reads the present status; nil if there is none.
func (p *presence) read(ctx context.Context, r redis.Cmdable) (*identity, time.Duration, error) {
	text, err := r.Get(ctx, p.Key).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, 0, nil
	case err != nil && redisconn.EndsSession(err):
		return nil, 0, fmt.Errorf("read %s: %w", p.Key, err)
	case err != nil:
		return nil, 0, nil // not permitted to read: then rivals are not detected
	}
	left, err := r.PTTL(ctx, p.Key).Result()
	if err != nil {
		left = 0
	}
	var i identity
	if frame.Decode([]byte(text), &i) != nil || left < 0 {
		return nil, 0, nil // not an agent's status, or one that would stand forever
	}
	return &i, left, nil
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
	old, err := r.SetArgs(ctx, p.Key, text, redis.SetArgs{TTL: 3 * p.Interval, Get: true}).Result()
	var notSet error
	if err != nil && !errors.Is(err, redis.Nil) {
		notSet = fmt.Errorf("set %s: %w", p.Key, err)
	}
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
	i, _, err := p.read(ctx, r)
	if err != nil || i == nil || i.Instance != p.Instance {
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
	if !p.refused {
		p.Log.Warn().Err(err).Str("advice", redisconn.CauseOf(err).Advice()).Msg("Redis refuses the status")
	}
	p.refused = true
	return nil
}

// reportRival reports an agent that was started beside this one by force.
func (p *presence) reportRival(old string) {
	var i identity
	if old == "" || frame.Decode([]byte(old), &i) != nil ||
		i.Instance == p.Instance || i.dead(p.Owner) || i.Instance == p.rival {
		return
	}
	p.rival = i.Instance
	p.Log.Error().Str("host", i.Host).Int("pid", i.PID).
		Msg("Another agent publishes its status under this camera's name: stop one of them")
}
