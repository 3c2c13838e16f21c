package controller

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"framekeeper/internal/configfile"
	"framekeeper/internal/version"
)

// usageError is a mistake in the command line or the configuration; starting
// again without a change is pointless. The exit code is 2.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

const help = `Usage: controller [--config FILE]

Runs one cam-agent for every [[camera]] of the configuration, starts it again
when it ends or hangs, publishes the box's telemetry and serves its status page.

`

type options struct {
	config  string
	version bool
	check   bool
	status  bool
	get     string
}

// parse reads the command line. flag.ErrHelp has been answered already.
func parse(args []string, stdout io.Writer) (options, error) {
	var o options
	set := flag.NewFlagSet("controller", flag.ContinueOnError)
	set.SetOutput(io.Discard) // errors are returned, and main says them
	set.StringVar(&o.config, "config", "config.toml", "the configuration `FILE`")
	set.BoolVar(&o.version, "version", false, "print the version and exit")
	set.BoolVar(&o.check, "check", false, "check the configuration and exit: with 0 if a controller takes it, else say what is wrong")
	set.BoolVar(&o.status, "status", false, "ask the running controller how it is, and exit with 0 if all is well")
	set.StringVar(&o.get, "get", "", "print one setting as the programs see it and exit; `KEY` is one of "+settingNames())
	err := set.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(stdout, help)
		set.SetOutput(stdout)
		set.PrintDefaults()
		return o, flag.ErrHelp
	case err != nil:
		return o, &usageError{fmt.Errorf("%w; see controller --help", err)}
	case set.NArg() > 0:
		return o, &usageError{fmt.Errorf("unexpected argument %q; see controller --help", set.Arg(0))}
	}
	return o, nil
}

// run is the whole program except for signals and the exit code.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if o.version {
		_, err := fmt.Fprintln(stdout, "controller", version.String())
		return err
	}
	cfg, err := configfile.Load(o.config)
	if err != nil {
		return &usageError{err}
	}
	switch {
	case o.check:
		return check(ctx, stdout, cfg)
	case o.get != "":
		return printSetting(stdout, cfg, o.get)
	case o.status:
		return printStatus(ctx, stdout, cfg.Controller)
	}
	return control(ctx, cfg, stderr)
}
