package agent

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"framekeeper/internal/configfile"
	"framekeeper/internal/logging"
	"framekeeper/internal/version"
	"framekeeper/pkg/redisconn"
)

// usageError is what only the one who starts the program can correct.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

type flags struct {
	config  string
	camera  string
	check   bool
	devices bool
	version bool
}

const help = `Usage: cam-agent [--config FILE] [--camera NAME]

Owns one camera: answers requests with its frames, and publishes them all the
time if the configuration says so. The controller runs one for every camera.

`

// parseFlags reads the command line. flag.ErrHelp has been answered already.
func parseFlags(args []string, stdout io.Writer) (flags, error) {
	var f flags
	set := flag.NewFlagSet("cam-agent", flag.ContinueOnError)
	set.SetOutput(io.Discard) // errors are returned, and main says them
	set.StringVar(&f.config, "config", "config.toml", "the configuration `FILE`")
	set.StringVar(&f.camera, "camera", "", "`NAME` of the camera to serve; may be left out if the file has one")
	set.BoolVar(&f.check, "check", false, "check the configuration, open the camera once (without --camera each), and exit")
	set.BoolVar(&f.devices, "list-devices", false, "print the V4L2 cameras, each with its source line to paste, formats and controls, and exit")
	set.BoolVar(&f.version, "version", false, "print the version and exit")
	switch err := set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(stdout, help)
		set.SetOutput(stdout)
		set.PrintDefaults()
		return f, flag.ErrHelp
	case err != nil:
		return f, fmt.Errorf("%w; see cam-agent --help", err)
	case set.NArg() > 0:
		return f, fmt.Errorf("unexpected argument %q; see cam-agent --help", set.Arg(0))
	}
	return f, nil
}

// Run is the program below main: parse, load, and hand over to the pipeline.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f, err := parseFlags(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return &usageError{err}
	case f.version:
		_, err := fmt.Fprintln(stdout, "cam-agent", version.String())
		return err
	case f.devices:
		return listDevices(stdout)
	}
	cfg, err := configfile.LoadHanded(f.config)
	if err != nil {
		return &usageError{err}
	}
	name := f.camera
	if f.check && name == "" {
		return checkAll(ctx, cfg.Cameras, stdout)
	}
	if name == "" {
		if len(cfg.Cameras) != 1 {
			return &usageError{fmt.Errorf("--camera is missing; %s has %s", f.config, strings.Join(names(cfg), ", "))}
		}
		name = cfg.Cameras[0].Name
	}
	cam, err := cfg.Camera(name)
	if err != nil {
		return &usageError{err}
	}
	if f.check {
		return check(ctx, *cam, stdout)
	}
	log, closer := logging.Begin(cfg.Log, "cam-agent-"+cam.Name, stderr)
	defer func() { _ = closer.Close() }()
	redisconn.Quiet()
	return pipeline(ctx, cfg, *cam, driver{openSource, jpegEncoder()}, log)
}

func names(cfg *configfile.Config) []string {
	all := make([]string, len(cfg.Cameras))
	for i := range cfg.Cameras {
		all[i] = cfg.Cameras[i].Name
	}
	return all
}
