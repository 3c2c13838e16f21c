package telemetry

import "time"

// Settings are the keys of the [controller] table that are about telemetry.
type Settings struct {
	LogTopic    string        `toml:"log_topic"` // "": "<box>_log"
	LogInterval time.Duration `toml:"log_interval"`
	LogFormat   string        `toml:"log_format"` // json, or list: the old [cpu, temperature, memory]
}

// Default is what applies when the file leaves them out.
func Default() Settings { return Settings{LogInterval: 5 * time.Second, LogFormat: "json"} }

// FillNames gives the topic its default.
func (s *Settings) FillNames(box string) {
	if s.LogTopic == "" {
		s.LogTopic = box + "_log"
	}
}

// Validate reports everything that is wrong with them.
func (s *Settings) Validate(report func(key, value, expected string)) {
	if len(s.LogTopic) > 256 {
		report("log_topic", s.LogTopic[:32]+"…", "at most 256 bytes")
	}
	if s.LogFormat != "json" && s.LogFormat != "list" {
		report("log_format", s.LogFormat, "json or list")
	}
	if s.LogInterval < 100*time.Millisecond || s.LogInterval > time.Hour {
		report("log_interval", s.LogInterval.String(), "100ms to 1h")
	}
}
