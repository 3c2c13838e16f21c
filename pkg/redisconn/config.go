package redisconn

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Config is the [redis] table. It says where Redis is, who we are to it, and
// how soon silence counts as loss.
type Config struct {
	URL          string   `toml:"url"` // redis://, rediss:// or unix://
	Username     string   `toml:"username"`
	PasswordFile string   `toml:"password_file"` // read again for every session, so that a rotated password heals by itself
	TLSCAFile    string   `toml:"tls_ca_file"`
	TLSCertFile  string   `toml:"tls_cert_file"`
	TLSKeyFile   string   `toml:"tls_key_file"`
	SentinelName string   `toml:"sentinel_master"`
	Sentinels    []string `toml:"sentinel_addrs"`

	DialTimeout   time.Duration `toml:"dial_timeout"`
	IOTimeout     time.Duration `toml:"io_timeout"`
	CheckInterval time.Duration `toml:"connection_check_interval"`
	CheckTimeout  time.Duration `toml:"connection_check_timeout"`
	BackoffMin    time.Duration `toml:"backoff_min"`
	BackoffMax    time.Duration `toml:"backoff_max"`

	Embedded bool `toml:"embedded"` // the controller runs its own redis-server at URL
}

// Default is the table as it stands when the file leaves it out.
func Default() Config {
	return Config{
		URL:           "redis://127.0.0.1:6379/0",
		Sentinels:     []string{},
		DialTimeout:   500 * time.Millisecond,
		IOTimeout:     5 * time.Second,
		CheckInterval: 600 * time.Millisecond,
		CheckTimeout:  700 * time.Millisecond,
		BackoffMin:    20 * time.Millisecond,
		BackoffMax:    150 * time.Millisecond,
	}
}

// Report receives one thing that is wrong: the key within the table, the value
// it has (already safe to print), and what was expected instead.
type Report = func(key, value, expected string)

// Validate reports everything that is wrong with the table.
func (c *Config) Validate(report Report) {
	c.validateURL(report)
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		report("tls_cert_file", c.TLSCertFile, "tls_cert_file and tls_key_file together, or neither")
	}
	if (c.SentinelName == "") != (len(c.Sentinels) == 0) {
		report("sentinel_master", c.SentinelName, "sentinel_master and sentinel_addrs together, or neither")
	}
	for _, addr := range c.Sentinels {
		if i := strings.LastIndexByte(addr, ':'); i < 1 || !isPort(addr[i+1:]) {
			report("sentinel_addrs", addr, `"host:port"`)
		}
	}
	within := func(key string, d, low, high time.Duration) {
		if d < low || d > high {
			report(key, d.String(), fmt.Sprintf("%s to %s", low, high))
		}
	}
	within("dial_timeout", c.DialTimeout, 10*time.Millisecond, time.Minute)
	within("io_timeout", c.IOTimeout, 100*time.Millisecond, 5*time.Minute)
	within("connection_check_interval", c.CheckInterval, 50*time.Millisecond, time.Minute)
	within("connection_check_timeout", c.CheckTimeout, 50*time.Millisecond, time.Minute)
	within("backoff_min", c.BackoffMin, time.Millisecond, time.Minute)
	within("backoff_max", c.BackoffMax, time.Millisecond, time.Minute)
	if c.BackoffMax < c.BackoffMin {
		report("backoff_max", c.BackoffMax.String(), "at least backoff_min, "+c.BackoffMin.String())
	}
	if len(c.Sentinels) > 0 && strings.HasPrefix(c.URL, "unix:") {
		report("sentinel_addrs", strings.Join(c.Sentinels, ", "), "none together with a unix socket")
	}
	if c.Embedded && len(c.Sentinels) > 0 {
		report("embedded", "true", "false together with sentinel_addrs")
	}
}

func (c *Config) validateURL(report Report) {
	const expected = "redis://host:port/db, rediss://host:port/db or unix:///path/to/redis.sock"
	u, err := url.Parse(c.URL)
	if err != nil {
		report("url", "(unreadable)", expected) // url.Parse's error would quote a password
		return
	}
	switch u.Scheme {
	case "redis", "rediss":
		if u.Hostname() == "" || (u.Port() != "" && !isPort(u.Port())) {
			report("url", c.Shown(), expected)
		}
		if db := strings.Trim(u.Path, "/"); db != "" {
			if n, err := strconv.Atoi(db); err != nil || n < 0 {
				report("url", c.Shown(), "a database number after the host, such as /0")
			}
		}
	case "unix":
		if u.Path == "" {
			report("url", c.Shown(), expected)
		}
	default:
		report("url", c.Shown(), expected)
	}
	if u.RawQuery != "" || u.Fragment != "" {
		report("url", c.Shown(), "no ?options; each setting has its own key")
	}
	if _, has := u.User.Password(); has {
		report("url", c.Shown(), "no password in the URL: put it in a file and name that in password_file")
	}
	if u.User.Username() != "" && c.Username != "" && u.User.Username() != c.Username {
		report("username", c.Username, "the user name given in url, or none there")
	}
	if c.Embedded && u.Scheme == "rediss" {
		report("embedded", "true", "a url with redis:// or unix://: the controller's own server has no TLS; run one as a service for that")
	}
	if ip := net.ParseIP(u.Hostname()); c.Embedded && ip != nil && ip.IsUnspecified() {
		report("url", c.Shown(), "one address of this box, together with embedded = true")
	}
	if c.Embedded && u.Scheme != "unix" && !isLocal(u.Hostname()) && c.PasswordFile == "" {
		report("embedded", "true", "password_file too, because url is not a loopback address")
	}
}

// Database is the number of the database in the URL.
func (c *Config) Database() int {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme == "unix" {
		return 0
	}
	n, _ := strconv.Atoi(strings.Trim(u.Path, "/"))
	return n
}

// Password reads password_file; "" if there is none.
func (c *Config) Password() (string, error) { return readPassword(c.PasswordFile) }

// Shown is the URL without credentials, fit for logs and errors.
func (c *Config) Shown() string {
	u, err := url.Parse(c.URL)
	if err != nil {
		return "(unreadable url)"
	}
	if u.Opaque != "" {
		return u.Scheme + ":…" // not "scheme://": nobody knows what stands where
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	if strings.Contains(u.Path, "@") {
		return "(unreadable url)" // a slip such as "redis:/" moved the password into the path
	}
	return u.String()
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

func isLocal(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
