package controller

import (
	"fmt"
	"io"
	"strings"

	"framekeeper/internal/cli"
	"framekeeper/internal/configfile"
)

// setting is one value the scripts need to know.
type setting struct {
	key   string
	value func(*configfile.Config) string
}

// settings spares the shell scripts a TOML parser: they ask here, and get what
// the programs will use, defaults and environment included.
func settings() []setting {
	return []setting{
		{"state_dir", func(c *configfile.Config) string { return c.StateDir }},
		{"redis.url", func(c *configfile.Config) string { return c.Redis.Shown() }},
		{"redis.username", func(c *configfile.Config) string { return c.Redis.Username }},
		{"redis.password_file", func(c *configfile.Config) string { return c.Redis.PasswordFile }},
		{"redis.sentinel_master", func(c *configfile.Config) string { return c.Redis.SentinelName }},
		{"controller.http", func(c *configfile.Config) string { return c.Controller.Web.HTTP }},
		{"client.images_dir", func(c *configfile.Config) string { return c.Client.Images.Dir }},
	}
}

func settingNames() string {
	var names []string
	for _, s := range settings() {
		names = append(names, s.key)
	}
	return strings.Join(names, ", ")
}

func printSetting(w io.Writer, cfg *configfile.Config, key string) error {
	for _, s := range settings() {
		if s.key == key {
			_, err := fmt.Fprintln(w, s.value(cfg))
			return err
		}
	}
	return cli.Usagef("--get %q: expected one of %s", key, settingNames())
}
