package logging

import (
	"strconv"

	"github.com/rs/zerolog"
)

// Config is the [log] table.
type Config struct {
	Level      string `toml:"level"`
	Format     string `toml:"format"` // console or json
	File       string `toml:"file"`   // "" is standard error; else see FileName
	MaxSizeMB  int    `toml:"max_size_mb"`
	MaxBackups int    `toml:"max_backups"`
}

// Default is the table as it stands when the file leaves it out.
func Default() Config {
	return Config{Level: "info", Format: "console", MaxSizeMB: 100, MaxBackups: 3}
}

// Validate reports everything that is wrong with the table.
func (c *Config) Validate(report func(key, value, expected string)) {
	switch c.Level {
	case "trace", "debug", "info", "warn", "error":
	default:
		report("level", c.Level, "trace, debug, info, warn or error")
	}
	if c.Format != "console" && c.Format != "json" {
		report("format", c.Format, "console or json")
	}
	if c.MaxSizeMB < 1 || c.MaxSizeMB > 100000 {
		report("max_size_mb", strconv.Itoa(c.MaxSizeMB), "1 to 100000")
	}
	if c.MaxBackups < 1 || c.MaxBackups > 1000 {
		report("max_backups", strconv.Itoa(c.MaxBackups), "1 to 1000") // lumberjack takes 0 for "keep all"
	}
}

func (c *Config) level() zerolog.Level {
	l, err := zerolog.ParseLevel(c.Level)
	if err != nil {
		return zerolog.InfoLevel
	}
	return l
}
