package supervise

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Restart ends the camera's process, if one runs, starts a new one, and returns
// when that runs, or with the reason why it does not. A stopped camera is
// started.
func (s *Supervisor) Restart(ctx context.Context, name string) (Status, error) {
	a, err := s.find(name)
	if err != nil {
		return Status{}, err
	}
	before := a.request(func(o *desired) { o.stopped, o.restart = false, true })
	return a.awaitLife(ctx, before)
}

// Stop ends the camera's process and returns when it is gone. It stays so until
// Start or Restart, also across an Update.
func (s *Supervisor) Stop(ctx context.Context, name string) (Status, error) {
	a, err := s.find(name)
	if err != nil {
		return Status{}, err
	}
	a.request(func(o *desired) { o.stopped, o.restart = true, false })
	return a.awaitStop(ctx)
}

// Start starts a camera that is stopped, or one that waits for its next start,
// and returns like Restart. One that runs is left alone.
func (s *Supervisor) Start(ctx context.Context, name string) (Status, error) {
	a, err := s.find(name)
	if err != nil {
		return Status{}, err
	}
	var already bool
	before := a.request(func(o *desired) {
		already = !o.stopped && !o.restart && o.lives > 0 && o.phase != over
		if o.stopped = false; already {
			return
		}
		o.restart = true
	})
	if already {
		before--
	}
	return a.awaitLife(ctx, before)
}

// Find is how the camera of that name is.
func (s *Supervisor) Find(name string) (Status, error) {
	a, err := s.find(name)
	if err != nil {
		return Status{}, err
	}
	return a.snapshot(), nil
}

// find is the agent of that name. The error lists what there is.
func (s *Supervisor) find(name string) (*agent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil || s.ctx.Err() != nil {
		return nil, ErrEnding
	}
	names := make([]string, len(s.agents))
	for i, a := range s.agents {
		if a.name == name {
			return a, nil
		}
		names[i] = a.name
	}
	if name == "" {
		return nil, fmt.Errorf("no camera was named; there is %s", strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("no camera %.80q; there is %s", name, strings.Join(names, ", "))
}

// Settings are the keys of the [controller] table that are about agents.
type Settings struct {
	RestartBackoffMax time.Duration `toml:"restart_backoff_max"`
	WatchdogTimeout   time.Duration `toml:"watchdog_timeout"`
	RecoveryCommand   string        `toml:"recovery_command"` // "": off
	RecoveryAfter     int           `toml:"recovery_after"`
}

// Default is what applies when the file leaves them out.
func Default() Settings {
	return Settings{RestartBackoffMax: 30 * time.Second, WatchdogTimeout: 10 * time.Second, RecoveryAfter: 5}
}

// Validate reports everything that is wrong with them.
func (s *Settings) Validate(report func(key, value, expected string)) {
	if s.RestartBackoffMax < 100*time.Millisecond || s.RestartBackoffMax > time.Hour {
		report("restart_backoff_max", s.RestartBackoffMax.String(), "100ms to 1h")
	}
	if s.WatchdogTimeout < time.Second || s.WatchdogTimeout > time.Hour {
		report("watchdog_timeout", s.WatchdogTimeout.String(), "1s to 1h")
	}
	if strings.ContainsRune(s.RecoveryCommand, 0) {
		report("recovery_command", s.RecoveryCommand, "a command line for sh -c")
	}
	if s.RecoveryAfter < 1 || s.RecoveryAfter > 1000 {
		report("recovery_after", strconv.Itoa(s.RecoveryAfter), "1 to 1000")
	}
}
