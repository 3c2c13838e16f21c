// Package notify sends events to a receiver of the operator's: a JSON POST each, signed
// with a secret. It promises that a receiver which fails, hangs or answers nonsense costs
// nothing but the memory for 256 events; that the newest state of what changes again and
// again arrives in the end; that what is given up is declared in the next POST; and that
// neither the secret nor what an address may hold of one is logged. It does not promise
// an event that waits when the program ends. The controller is its caller.
package notify

import (
	"bytes"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"framekeeper/internal/events"
	"framekeeper/internal/files"
)

// Config is the [notify] table.
type Config struct {
	URL        string   `toml:"url"` // "": events are not sent
	SecretFile string   `toml:"secret_file"`
	Events     []string `toml:"events"` // kinds; empty: all
}

// Default is what applies when the file leaves them out.
func Default() Config { return Config{Events: []string{}} }

// Validate reports everything that is wrong with it, but no address: it may hold a token.
func (c *Config) Validate(report func(key, value, expected string)) {
	if c.URL != "" && c.address() == nil {
		report("url", "…", "an address such as https://example.com/hook")
	}
	if (c.URL == "") != (c.SecretFile == "") {
		report("secret_file", c.SecretFile, "url and secret_file together, or neither")
	}
	for _, kind := range c.Events {
		if all := events.Kinds(); !slices.Contains(all, events.Kind(kind)) {
			report("events", kind, "kinds of "+strings.Trim(fmt.Sprint(all), "[]"))
		}
	}
}

// HoldsSecret reports whether the address may hold a password or a token.
func (c *Config) HoldsSecret() bool {
	u := c.address()
	return u != nil && (u.User != nil || u.RawQuery != "")
}

// address is nil if it is none of HTTP.
func (c *Config) address() *url.URL {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil
	}
	if _, err := strconv.ParseUint("0"+u.Port(), 10, 16); err != nil {
		return nil
	}
	return u
}

// Target reads the secret; nil without a url. Box is the box's name.
func (c *Config) Target(box string) (*Target, error) {
	if c.URL == "" {
		return nil, nil //nolint:nilnil // nowhere is what was asked for
	}
	secret, err := files.ReadSmall(c.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("read [notify] secret_file: %w", err)
	}
	if secret = bytes.TrimRight(secret, "\r\n"); len(secret) == 0 {
		return nil, fmt.Errorf("read [notify] secret_file: %s is empty", c.SecretFile)
	}
	return &Target{box: box, url: c.address(), secret: secret, events: c.Events}, nil
}
