package redisconn

import (
	"strings"
	"testing"
	"time"
)

// reportsOf is what Validate has to say, as "key: value: expected".
func reportsOf(c Config) []string {
	var got []string
	c.Validate(func(key, value, expected string) { got = append(got, key+": "+value+": "+expected) })
	return got
}

func TestConfigAccepts(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"defaults":      func(*Config) {},
		"no port":       func(c *Config) { c.URL = "redis://host" },
		"no database":   func(c *Config) { c.URL = "redis://host:1/" },
		"database":      func(c *Config) { c.URL = "redis://host:1/15" },
		"IPv6":          func(c *Config) { c.URL = "redis://[::1]:6379/0" },
		"TLS":           func(c *Config) { c.URL, c.TLSCAFile = "rediss://host:1", "ca.pem" },
		"certificate":   func(c *Config) { c.TLSCertFile, c.TLSKeyFile = "c.pem", "k.pem" },
		"unix":          func(c *Config) { c.URL = "unix:///run/redis.sock" },
		"user in URL":   func(c *Config) { c.URL = "redis://bob@host" },
		"user twice":    func(c *Config) { c.URL, c.Username = "redis://bob@host", "bob" },
		"sentinel":      func(c *Config) { c.SentinelName, c.Sentinels = "m", []string{"a:1", "[::1]:2"} },
		"embedded":      func(c *Config) { c.Embedded = true },
		"embedded unix": func(c *Config) { c.URL, c.Embedded = "unix:///run/r.sock", true },
		"embedded open": func(c *Config) { c.URL, c.Embedded, c.PasswordFile = "redis://10.0.0.1:1", true, "pw" },
		"limits":        func(c *Config) { c.CheckInterval, c.CheckTimeout = 50*time.Millisecond, time.Minute },
		"equal backoff": func(c *Config) { c.BackoffMin = c.BackoffMax },
	} {
		c := Default()
		change(&c)
		if got := reportsOf(c); len(got) != 0 {
			t.Errorf("%s is refused: %q", name, got)
		}
	}
}

func TestConfigRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Config)
		key    string
		says   string
	}{
		"empty":              {func(c *Config) { c.URL = "" }, "url", "redis://host:port/db"},
		"other scheme":       {func(c *Config) { c.URL = "http://host" }, "url", "redis://host:port/db"},
		"no host":            {func(c *Config) { c.URL = "redis:///0" }, "url", "redis://host:port/db"},
		"port 0":             {func(c *Config) { c.URL = "redis://host:0" }, "url", "redis://host:port/db"},
		"port too high":      {func(c *Config) { c.URL = "redis://host:65536" }, "url", "redis://host:port/db"},
		"port text":          {func(c *Config) { c.URL = "redis://host:x" }, "url", "redis://host:port/db"},
		"database text":      {func(c *Config) { c.URL = "redis://host/x" }, "url", "database number"},
		"database negative":  {func(c *Config) { c.URL = "redis://host/-1" }, "url", "database number"},
		"unix nowhere":       {func(c *Config) { c.URL = "unix://" }, "url", "redis://host:port/db"},
		"options":            {func(c *Config) { c.URL = "redis://host?db=1" }, "url", "own key"},
		"password":           {func(c *Config) { c.URL = "redis://:secret@host" }, "url", "password_file"},
		"two users":          {func(c *Config) { c.URL, c.Username = "redis://bob@host", "al" }, "username", "given in url"},
		"cert, no key":       {func(c *Config) { c.TLSCertFile = "c.pem" }, "tls_cert_file", "together"},
		"key, no cert":       {func(c *Config) { c.TLSKeyFile = "k.pem" }, "tls_cert_file", "together"},
		"sentinel, no name":  {func(c *Config) { c.Sentinels = []string{"a:1"} }, "sentinel_master", "together"},
		"name, no sentinel":  {func(c *Config) { c.SentinelName = "m" }, "sentinel_master", "together"},
		"sentinel address":   {func(c *Config) { c.SentinelName, c.Sentinels = "m", []string{"a:1", "b"} }, "sentinel_addrs", "host:port"},
		"dial too short":     {func(c *Config) { c.DialTimeout = 0 }, "dial_timeout", "10ms to 1m"},
		"io too long":        {func(c *Config) { c.IOTimeout = time.Hour }, "io_timeout", "100ms to 5m"},
		"interval":           {func(c *Config) { c.CheckInterval = -1 }, "connection_check_interval", "50ms to 1m"},
		"timeout":            {func(c *Config) { c.CheckTimeout = time.Millisecond }, "connection_check_timeout", "50ms to 1m"},
		"backoff order":      {func(c *Config) { c.BackoffMin = time.Second }, "backoff_max", "at least backoff_min, 1s"},
		"embedded open":      {func(c *Config) { c.URL, c.Embedded = "redis://10.0.0.1:1", true }, "embedded", "password_file"},
		"sentinel, no host":  {func(c *Config) { c.SentinelName, c.Sentinels = "m", []string{":1"} }, "sentinel_addrs", "host:port"},
		"sentinel and unix":  {func(c *Config) { c.URL, c.SentinelName, c.Sentinels = "unix:///r", "m", []string{"a:1"} }, "sentinel_addrs", "unix"},
		"embedded lookalike": {func(c *Config) { c.URL, c.Embedded = "redis://127.0.0.1.example.com", true }, "embedded", "password_file"},
		"embedded TLS":       {func(c *Config) { c.URL, c.Embedded = "rediss://127.0.0.1:1", true }, "embedded", "no TLS"},
		"embedded anywhere":  {func(c *Config) { c.URL, c.Embedded, c.PasswordFile = "redis://0.0.0.0:1", true, "pw" }, "url", "one address of this box"},
		"embedded sentinel":  {func(c *Config) { c.Embedded, c.SentinelName, c.Sentinels = true, "m", []string{"a:1"} }, "embedded", "sentinel_addrs"},
	} {
		c := Default()
		tt.change(&c)
		got := reportsOf(c)
		if len(got) != 1 || !strings.HasPrefix(got[0], tt.key+": ") || !strings.Contains(got[0], tt.says) {
			t.Errorf("%s: got %q, want one report of %s saying %q", name, got, tt.key, tt.says)
		}
	}
}

func TestConfigReportsEverythingAtOnce(t *testing.T) {
	if got := reportsOf(Config{}); len(got) < 7 {
		t.Errorf("an empty table gives %d reports, want one for the URL and each duration: %q", len(got), got)
	}
}

func TestConfigShowsNoCredentials(t *testing.T) {
	for url, want := range map[string]string{
		"redis://127.0.0.1:6379/0":            "redis://127.0.0.1:6379/0",
		"rediss://bob:secret@host:1/2":        "rediss://host:1/2",
		"redis://:secret@host":                "redis://host",
		"redis://host/?password=secret#token": "redis://host/",
		"unix://bob:secret@/run/redis.sock":   "unix:///run/redis.sock",
		"redis://:sec ret@host":               "(unreadable url)",
		"redis://:secret@host:port":           "(unreadable url)",
		"redis:bob:secret@host/0":             "redis:…",
		"redis:/:secret@host/0":               "(unreadable url)",
		"bob:secret@host/0":                   "bob:…",
		"secret@host":                         "(unreadable url)",
		"redis://host/:secret@other":          "(unreadable url)",
	} {
		c := Default()
		c.URL = url
		if got := c.Shown(); got != want {
			t.Errorf("%s is shown as %s, want %s", url, got, want)
		}
		for _, report := range reportsOf(c) {
			if strings.Contains(report, "secret") {
				t.Errorf("%s: the report %q reveals the password", url, report)
			}
		}
	}
}
