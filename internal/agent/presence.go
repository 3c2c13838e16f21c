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

	"framekeeper/pkg/redisconn"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/outbox"
)

// presencePoll is how often a start looks whether a foreign status moves.
const presencePoll = 100 * time.Millisecond

// PresenceConfig says how an agent shows that it is there.
type PresenceConfig struct {
	Key      string        // holds the status, for three intervals
	Topic    string        // gets it published
	Interval time.Duration // of both
	Instance string
	Owner    string
	Status   func() any // marshalled to JSON; must contain Instance and Owner
	Kick     <-chan struct{}
	Log      zerolog.Logger
}

// Presence keeps status:<camera> fresh and refuses to start beside another
// live agent.
type Presence struct {
	cfg     PresenceConfig
	checked bool
	gone    atomic.Bool // withdrawn: not to be shown again

	showing sync.Mutex // guards all below; held while a status is shown
	refused bool       // Redis refuses the status
	rival   string
}

// whoIs are the keys of a status that tell agents apart.
type whoIs struct {
	Instance string `json:"instance"`
	Owner    string `json:"owner"`
	Host     string `json:"host"`
	PID      int    `json:"pid"`
	Boot     string `json:"boot"` // of the machine: no two share it, nor two starts of one
	TimeUS   int64  `json:"time_us"`
}

// BootID names this start of this machine; "" where it cannot be told. Boxes made
// from one image share host name and state directory, but not this.
func BootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// gone reports whether the status is from a process that cannot live any more:
// one of our own state directory, which we have locked, or one of this machine
// whose process is not there, as after a kill where the directory is not kept.
// Of another machine's, however much it looks like this one, nobody knows.
func (w *whoIs) gone(owner string) bool {
	if boot := BootID(); w.Boot != "" && boot != "" && w.Boot != boot {
		return false
	}
	host, err := os.Hostname()
	return w.Owner == owner ||
		err == nil && w.Host == host && w.PID > 0 && errors.Is(syscall.Kill(w.PID, 0), syscall.ESRCH)
}

// NewPresence prepares it.
func NewPresence(cfg PresenceConfig) *Presence { return &Presence{cfg: cfg} }

// Admit looks, once, whether another agent is alive: one whose status comes
// from another state directory and is renewed while we watch. A status that
// only lies there belongs to a dead agent and is taken over when it expires.
func (p *Presence) Admit(ctx context.Context, s *datatransfer.Session) error {
	if p.checked {
		return nil
	}
	first, left, err := p.look(ctx, s)
	if err != nil {
		return err
	}
	if first == nil || first.Instance == p.cfg.Instance || first.gone(p.cfg.Owner) {
		p.checked = true
		return nil
	}
	p.cfg.Log.Warn().Str("host", first.Host).Int("pid", first.PID).Int64("for_ms", left.Milliseconds()).
		Msg("another agent's status stands in Redis, watching whether it is alive")
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(presencePoll):
		}
		now, _, err := p.look(ctx, s)
		switch {
		case err != nil:
			return err
		case now == nil:
			p.checked = true
			return nil
		case now.TimeUS != first.TimeUS || now.Instance != first.Instance:
			return &datatransfer.FatalError{Err: fmt.Errorf("%w: process %d on host %s answers for it over the same Redis; stop one of them, or give this camera another name",
				outbox.ErrClaimed, now.PID, now.Host)}
		}
	}
}

// look reads the present status; nil if there is none.
func (p *Presence) look(ctx context.Context, s *datatransfer.Session) (*whoIs, time.Duration, error) {
	text, err := s.Data().Get(ctx, p.cfg.Key).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, 0, nil
	case err != nil && redisconn.EndsSession(err):
		return nil, 0, fmt.Errorf("read %s: %w", p.cfg.Key, err)
	case err != nil:
		return nil, 0, nil // not permitted to look: then others are not our business
	}
	left, err := s.Data().PTTL(ctx, p.cfg.Key).Result()
	if err != nil {
		left = 0
	}
	var w whoIs
	if json.Unmarshal([]byte(text), &w) != nil || left < 0 {
		return nil, 0, nil // not an agent's status, or one that would stand forever
	}
	return &w, left, nil
}

// Worker renews the status at every interval and at every kick.
func (p *Presence) Worker() datatransfer.Worker {
	return datatransfer.Worker{Name: "show status", Run: p.run}
}

func (p *Presence) run(ctx context.Context, s *datatransfer.Session) error {
	tick := time.NewTicker(p.cfg.Interval)
	defer tick.Stop()
	for {
		if err := p.Show(ctx, s); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-p.cfg.Kick:
		case <-ctx.Done():
			return nil
		}
	}
}

// Show writes and publishes the status once. The worker does, and whoever has a
// last word to say.
func (p *Presence) Show(ctx context.Context, s *datatransfer.Session) error {
	p.showing.Lock()
	defer p.showing.Unlock()
	if p.gone.Load() {
		return nil
	}
	text, err := json.Marshal(p.cfg.Status())
	if err != nil {
		return fmt.Errorf("encode status: %w", err)
	}
	old, err := s.Data().SetArgs(ctx, p.cfg.Key, text, redis.SetArgs{TTL: 3 * p.cfg.Interval, Get: true}).Result()
	var kept error
	if err != nil && !errors.Is(err, redis.Nil) {
		kept = fmt.Errorf("set %s: %w", p.cfg.Key, err)
	}
	if redisconn.EndsSession(kept) {
		return kept
	}
	p.watchRival(old)
	// Under OOM nothing can be kept, but whoever listens can be told so.
	if err := s.Data().Publish(ctx, p.cfg.Topic, text).Err(); err != nil {
		return p.refuse(fmt.Errorf("publish %s: %w", p.cfg.Topic, err))
	}
	if kept != nil {
		return p.refuse(kept)
	}
	p.refused = false
	return nil
}

// Withdraw removes the status at an orderly end, if it is still ours: the agent
// is gone at once, and not only when the key expires.
func (p *Presence) Withdraw(ctx context.Context, s *datatransfer.Session) error {
	p.gone.Store(true)
	w, _, err := p.look(ctx, s)
	if err != nil || w == nil || w.Instance != p.cfg.Instance {
		return err
	}
	if err := s.Data().Del(ctx, p.cfg.Key).Err(); err != nil {
		return fmt.Errorf("remove %s: %w", p.cfg.Key, err)
	}
	return nil
}

// refuse passes on what ends the session and logs, once, what does not.
func (p *Presence) refuse(err error) error {
	if redisconn.EndsSession(err) {
		return err
	}
	if !p.refused {
		p.cfg.Log.Warn().Err(err).Str("advice", redisconn.CauseOf(err).Advice()).Msg("Redis refuses the status")
	}
	p.refused = true
	return nil
}

// watchRival notices an agent that was started beside this one by force.
func (p *Presence) watchRival(old string) {
	var w whoIs
	if old == "" || json.Unmarshal([]byte(old), &w) != nil ||
		w.Instance == p.cfg.Instance || w.gone(p.cfg.Owner) || w.Instance == p.rival {
		return
	}
	p.rival = w.Instance
	p.cfg.Log.Error().Str("host", w.Host).Int("pid", w.PID).
		Msg("another agent shows itself under this camera's name: stop one of them")
}
