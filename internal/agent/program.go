// Package agent is the program cam-agent: it owns one camera, answers requests
// with frames, streams continuously if configured, and survives every outage of
// Redis. pipeline constructs its parts and joins them. Only cmd/cam-agent calls it.
package agent

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"framekeeper/internal/cli"
	"framekeeper/internal/configfile"
	"framekeeper/internal/logging"
	"framekeeper/internal/status"
	"framekeeper/internal/supervise"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/redisconn"
)

// Program is cam-agent, for main.
func Program() cli.Program {
	return cli.Program{
		Name:     "cam-agent",
		Command:  command,
		ExitCode: exitCode,
		Grace:    500 * time.Millisecond,
	}
}

// exitCode is what the process ends with after its command.
func exitCode(err error) int {
	switch {
	case err == nil:
		return status.ExitOK
	case cli.IsUsage(err), errors.Is(err, camera.ErrUnsupported):
		return status.ExitUsage
	case errors.Is(err, camera.ErrReopenLimit), errors.Is(err, camera.ErrHung):
		return status.ExitCamera
	case errors.Is(err, outbox.ErrClaimed):
		return status.ExitClaimed
	default:
		return status.ExitError
	}
}

// flags are the command line.
type flags struct {
	config  string
	camera  string
	check   bool
	devices bool
	json    bool
}

func command(stdout, stderr io.Writer) *cobra.Command {
	var f flags
	cmd := cli.Root(&cobra.Command{
		Use:   "cam-agent",
		Short: "Serve one camera over Redis",
		Long: `Serves one camera: answers requests with its frames, and publishes frames
continuously if publish_fps is set. The controller runs one for every camera.

Exit codes: 1 for an error, 2 if the command line or the configuration is wrong,
3 if the camera failed or hangs, 4 if another cam-agent serves the camera.`,
		Example: `  cam-agent --config config.toml --camera greencam1
  cam-agent --list-devices
  cam-agent --check --json`,
		Args: cli.Args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), f, stdout, stderr) },
	}, &f.config)
	cmd.Flags().StringVar(&f.camera, "camera", "", "`NAME` of the camera to serve; may be omitted if the file has only one")
	cmd.Flags().BoolVar(&f.check, "check", false, "check the configuration, open the camera once (every camera without --camera), and exit")
	cmd.Flags().BoolVar(&f.devices, "list-devices", false, "print the V4L2 cameras, each with its source line to paste, formats and controls, and exit")
	cmd.Flags().BoolVar(&f.json, "json", false, "print the result of --check or --list-devices as JSON")
	return cmd
}

// run loads the configuration and hands over to the pipeline.
func run(ctx context.Context, f flags, stdout, stderr io.Writer) error {
	switch {
	case f.json && !f.check && !f.devices:
		return cli.Usagef("--json goes with --check or --list-devices; see cam-agent --help")
	case f.devices:
		return listDevices(stdout, f.json)
	}
	_, handed := os.LookupEnv(supervise.ConfigVariable)
	cfg, err := configfile.LoadHanded(f.config)
	if err != nil {
		return cli.Usage(err)
	}
	redisconn.Quiet()
	limit := sync.OnceValue(func() outputLimit { return askOutputLimit(ctx, cfg.Redis) })
	name := f.camera
	if f.check && name == "" {
		return checkAll(ctx, cfg.Cameras, limit, f.json, stdout)
	}
	if name == "" {
		if len(cfg.Cameras) != 1 {
			return cli.Usagef("--camera is missing; %s has %s", f.config, strings.Join(names(cfg), ", "))
		}
		name = cfg.Cameras[0].Name
	}
	cam, err := cfg.Camera(name)
	if err != nil {
		return cli.Usage(err)
	}
	if f.check {
		return checkAll(ctx, []camera.Config{*cam}, limit, f.json, stdout)
	}
	log, closer := logging.Begin(cfg.Log, "cam-agent-"+cam.Name, stderr)
	defer func() { _ = closer.Close() }()
	if !handed { // else the controller has warned of it
		cfg.WarnReadable(log)
	}
	return pipeline(ctx, cfg, *cam, driver{openSource, jpegEncoder(), newPreview}, log)
}

func names(cfg *configfile.Config) []string {
	all := make([]string, len(cfg.Cameras))
	for i := range cfg.Cameras {
		all[i] = cfg.Cameras[i].Name
	}
	return all
}
