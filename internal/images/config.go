package images

import (
	"time"

	"framekeeper/internal/bytesize"
)

// Config are the keys of the [client] table that a Store uses.
type Config struct {
	Dir      string        `toml:"images_dir"`
	MaxBytes bytesize.Size `toml:"images_max_bytes"`
	MaxAge   time.Duration `toml:"images_max_age"`
}

// Default is a table that the file leaves out.
func Default() Config {
	return Config{Dir: "./images", MaxBytes: 10 * bytesize.GiB, MaxAge: 720 * time.Hour}
}

// Validate reports everything that is wrong with them.
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
}
