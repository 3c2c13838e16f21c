package supervise

import (
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"framekeeper/pkg/camera"
)

// Config is the [controller] table.
type Config struct {
	Box               string        `toml:"box"`       // "": the host name
	LogTopic          string        `toml:"log_topic"` // "": "<box>_log"
	LogInterval       time.Duration `toml:"log_interval"`
	LogFormat         string        `toml:"log_format"` // json, or list: the old [cpu, temperature, memory]
	HTTP              string        `toml:"http"`       // "": no HTTP
	HTTPUser          string        `toml:"http_user"`
	HTTPPasswordFile  string        `toml:"http_password_file"`
	RestartBackoffMax time.Duration `toml:"restart_backoff_max"`
	WatchdogTimeout   time.Duration `toml:"watchdog_timeout"`
	RecoveryCommand   string        `toml:"recovery_command"` // "": off
	RecoveryAfter     int           `toml:"recovery_after"`
}

// Default is the table as it stands when the file leaves it out.
func Default() Config {
	return Config{
		LogInterval:       5 * time.Second,
		LogFormat:         "json",
		HTTP:              "127.0.0.1:8080",
		RestartBackoffMax: 30 * time.Second,
		WatchdogTimeout:   10 * time.Second,
		RecoveryAfter:     5,
	}
}

// FillNames gives the box and its log topic their defaults.
func (c *Config) FillNames() {
	if c.Box == "" {
		host, _ := os.Hostname()
		c.Box = boxName(host)
	}
	if c.LogTopic == "" {
		c.LogTopic = c.Box + "_log"
	}
}

// boxName makes a valid name of a host name.
func boxName(host string) string {
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return -1
	}, host)
	name = strings.TrimLeft(name, "-_")
	if name = name[:min(len(name), 64)]; name == "" {
		return "box"
	}
	return name
}

// Validate reports everything that is wrong with the table.
func (c *Config) Validate(report func(key, value, expected string)) {
	if c.Box != "" && !camera.ValidName(c.Box) {
		report("box", c.Box, camera.NameExpected)
	}
	if len(c.LogTopic) > 256 {
		report("log_topic", c.LogTopic[:32]+"…", "at most 256 bytes")
	}
	if c.LogFormat != "json" && c.LogFormat != "list" {
		report("log_format", c.LogFormat, "json or list")
	}
	for key, d := range map[string]time.Duration{
		"log_interval":        c.LogInterval,
		"restart_backoff_max": c.RestartBackoffMax,
	} {
		if d < 100*time.Millisecond || d > time.Hour {
			report(key, d.String(), "100ms to 1h")
		}
	}
	if c.WatchdogTimeout < time.Second || c.WatchdogTimeout > time.Hour {
		report("watchdog_timeout", c.WatchdogTimeout.String(), "1s to 1h")
	}
	if strings.ContainsRune(c.RecoveryCommand, 0) {
		report("recovery_command", c.RecoveryCommand, "a command line for sh -c")
	}
	if c.RecoveryAfter < 1 || c.RecoveryAfter > 1000 {
		report("recovery_after", strconv.Itoa(c.RecoveryAfter), "1 to 1000")
	}
	c.validateHTTP(report)
}

func (c *Config) validateHTTP(report func(key, value, expected string)) {
	if (c.HTTPUser == "") != (c.HTTPPasswordFile == "") {
		report("http_user", c.HTTPUser, "http_user and http_password_file together, or neither")
	}
	if strings.Contains(c.HTTPUser, ":") { // it ends the name on the wire: nobody would get in
		report("http_user", c.HTTPUser, "a name without a colon")
	}
	if c.HTTP == "" {
		return
	}
	host, port, err := net.SplitHostPort(c.HTTP)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n > 65535 {
		report("http", c.HTTP, `"host:port", or "" for none`)
		return
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) && c.HTTPUser == "" {
		report("http", c.HTTP, "a loopback address such as 127.0.0.1:8080, unless http_user and http_password_file are set")
	}
}
