// Package controller is the program controller: it runs one cam-agent for each
// camera of the configuration, publishes how the box is, and serves the box's own
// web page. Only cmd/controller calls it.
//
// Why a reload first makes everything that may fail: then nothing is half taken
// over. Parts that are made of one configuration run in a slot, which ends the
// one before and waits for it. systemd is READY once the controller supervises,
// whatever cameras and Redis do, and gets its watchdog signal as long as every
// part can be asked for its state; exit code 2 does not keep systemd from a
// restart, because Go's runtime exits with it after a crash too. The units'
// KillMode is process: in every other mode systemd would kill the agents at once
// when the controller has crashed. A killed agent is the controller's to
// replace, so their OOMPolicy is continue.
package controller

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"framekeeper/internal/cli"
	"framekeeper/internal/configfile"
)

// options are the command line.
type options struct {
	config string
	check  bool
	status bool
	json   bool
	get    string
}

// Program is the controller, for main. Its end takes as long as its agents and
// its Redis are given.
func Program() cli.Program {
	return cli.Program{Name: "controller", Command: command, Unlimited: true}
}

func command(stdout, stderr io.Writer) *cobra.Command {
	var o options
	cmd := cli.Root(&cobra.Command{
		Use:   "controller",
		Short: "Run one cam-agent for every camera of a box",
		Long: `Runs one cam-agent for every [[camera]] of the configuration, restarts it
when it ends or hangs, publishes the box's telemetry and serves its status page.`,
		Example: `  controller --config config.toml
  controller --check
  controller --status --json
  controller --get controller.http`,
		Args: cli.Args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), o, stdout, stderr) },
	}, &o.config)
	cmd.AddCommand(aclCommand(&o.config, stdout, stderr))
	cmd.Flags().BoolVar(&o.check, "check", false, "check the configuration and print every error; the exit code is 0 if there is none")
	cmd.Flags().BoolVar(&o.status, "status", false, "print the health of the box as the running controller reports it; the exit code is 0 if everything works")
	cmd.Flags().BoolVar(&o.json, "json", false, "print the result of --check or --status as JSON")
	cmd.Flags().StringVar(&o.get, "get", "", "print one setting as the programs see it and exit; `KEY` is one of "+settingNames())
	return cmd
}

func run(ctx context.Context, o options, stdout, stderr io.Writer) error {
	if o.json && !o.check && !o.status {
		return cli.Usagef("--json goes with --check or --status; see controller --help")
	}
	cfg, err := configfile.Load(o.config)
	switch {
	case o.check:
		if err == nil {
			err = check(ctx, cfg)
		}
		return printCheck(stdout, cfg, err, o.json)
	case err != nil && o.status:
		page := configfile.LoadPage(o.config)
		fmt.Fprintf(stderr, "%v\nThe running controller has an earlier configuration; it is asked at %s.\n", err, page.HTTP)
		return printStatus(ctx, stdout, page, cli.ClientCommand(o.config), o.json)
	case err != nil:
		return cli.Usage(err)
	case o.get != "":
		return printSetting(stdout, cfg, o.get)
	case o.status:
		return printStatus(ctx, stdout, cfg.Controller.Web, cli.ClientCommand(o.config), o.json)
	}
	return control(ctx, cfg, stderr)
}

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
