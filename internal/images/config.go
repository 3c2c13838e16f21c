package images

import (
	"strconv"
	"time"

	"framekeeper/internal/bytesize"
)

// Config is the [client] table.
type Config struct {
	Dir             string        `toml:"images_dir"`
	MaxBytes        bytesize.Size `toml:"images_max_bytes"`
	MaxAge          time.Duration `toml:"images_max_age"`
	RequestInterval time.Duration `toml:"request_interval"`
	QueueSize       int           `toml:"queue_size"` // frames received and not yet stored
}

// Default is the table as it stands when the file leaves it out.
func Default() Config {
	return Config{
		Dir:             "./images",
		MaxBytes:        10 * bytesize.GiB,
		MaxAge:          720 * time.Hour,
		RequestInterval: 100 * time.Millisecond,
		QueueSize:       1000,
	}
}

// Validate reports everything that is wrong with the table.
func (c *Config) Validate(report func(key, value, expected string)) {
	if c.Dir == "" {
		report("images_dir", "", "a directory")
	}
	if c.MaxBytes < bytesize.MiB {
		report("images_max_bytes", c.MaxBytes.String(), "at least 1MiB")
	}
	if c.MaxAge < time.Minute {
		report("images_max_age", c.MaxAge.String(), "at least 1m")
	}
	if c.RequestInterval < time.Millisecond || c.RequestInterval > time.Hour {
		report("request_interval", c.RequestInterval.String(), "1ms to 1h")
	}
	if c.QueueSize < 1 || c.QueueSize > 1000000 {
		report("queue_size", strconv.Itoa(c.QueueSize), "1 to 1000000")
	}
}
