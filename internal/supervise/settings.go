package supervise

import (
	"strconv"
	"strings"
	"time"
)

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
