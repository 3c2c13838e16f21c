package client

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"framekeeper/internal/cli"
	"framekeeper/internal/control"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
)

// controlFlags are the flags of all commands below "client control".
type controlFlags struct {
	box      string
	instance string
	timeout  time.Duration
	json     bool
}

func (c console) controlCommand() *cobra.Command {
	var f controlFlags
	root := cli.Group(&cobra.Command{
		Use:   "control",
		Short: "Send a command to a box's controller",
		Long: `Sends a command to a box's controller over Redis and waits for the answer. The
command is repeated under the same id until it is answered, and is carried out
once. The exit code is 0 if it was carried out. If several controllers have the
box's name, each answers, and none carries it out unless --instance names it.`,
		Example: `  client control status
  client control --box greenbox restart greencam1
  client control reload --json`,
	})
	root.PersistentFlags().StringVar(&f.box, "box", "", "the box's name (default: the configuration's, or this host's)")
	root.PersistentFlags().StringVar(&f.instance, "instance", "", "instance of the controller, if several have the box's name (client control status shows it)")
	root.PersistentFlags().DurationVar(&f.timeout, "timeout", 20*time.Second, "how long to wait for the answer, connecting included")
	root.PersistentFlags().BoolVar(&f.json, "json", false, "print the answer as JSON")
	root.AddCommand(
		c.plainControl(&f, control.Status, "Show the controller and its cameras"),
		c.cameraControl(&f, control.Restart, "Restart a camera's agent, also if it was stopped"),
		c.cameraControl(&f, control.Stop, "Stop a camera's agent until it is started, or the controller is restarted"),
		c.cameraControl(&f, control.Start, "Start a camera's agent that is stopped or waits for its next start"),
		c.plainControl(&f, control.Reload, "Read the configuration again and restart the agents whose settings changed"),
		c.setControl(&f),
	)
	return root
}

func (c console) plainControl(f *controlFlags, name, short string) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Args: cli.Args(), Example: "  client control " + name + "\n  client control --box greenbox --json " + name,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.control(cmd.Context(), f, map[string]any{"command": name})
		},
	}
}

func (c console) cameraControl(f *controlFlags, name, short string) *cobra.Command {
	return &cobra.Command{
		Use: name + " CAMERA", Short: short, Args: cli.Args("camera"), Example: "  client control " + name + " greencam1",
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.control(cmd.Context(), f, map[string]any{"command": name, "camera": args[0]})
		},
	}
}

func (c console) setControl(f *controlFlags) *cobra.Command {
	var fps float64
	var quality int
	var controls []string
	cmd := &cobra.Command{
		Use:     "set CAMERA",
		Short:   "Change a running camera's settings, until its agent ends",
		Long:    "Changes a running camera's settings at once. They last until its agent ends:\nthen config.toml applies again.",
		Example: "  client control set greencam1 --publish-fps 10 --quality 80\n  client control set usbcam --control exposure=250 --control gain=3",
		Args:    cli.Args("camera"),
		RunE: func(cmd *cobra.Command, args []string) error {
			fields := map[string]any{"command": control.Set, "camera": args[0]}
			if cmd.Flags().Changed("publish-fps") {
				fields["publish_fps"] = fps
			}
			if cmd.Flags().Changed("quality") {
				fields["quality"] = quality
			}
			values, err := controlValues(controls)
			if err != nil {
				return err
			}
			if len(values) > 0 {
				fields["controls"] = values
			}
			if len(fields) == 2 {
				return cli.Usagef("nothing to set, expected --publish-fps, --quality or --control")
			}
			return c.control(cmd.Context(), f, fields)
		},
	}
	cmd.Flags().Float64Var(&fps, "publish-fps", 0, "frames a second to publish continuously; 0: only on request")
	cmd.Flags().IntVar(&quality, "quality", 0, "JPEG quality, 1 to 100")
	cmd.Flags().StringArrayVar(&controls, "control", nil, "camera control as NAME=VALUE; may be repeated")
	return cmd
}

func controlValues(texts []string) (map[string]int64, error) {
	values := map[string]int64{}
	for _, text := range texts {
		name, value, ok := strings.Cut(text, "=")
		n, err := strconv.ParseInt(value, 10, 64)
		if !ok || name == "" || err != nil {
			return nil, cli.Usagef("--control %.80q: expected NAME=VALUE with a whole number, such as exposure=250", text)
		}
		values[name] = n
	}
	return values, nil
}

// control sends one command and prints its answer.
func (c console) control(ctx context.Context, f *controlFlags, fields map[string]any) error {
	if f.timeout < time.Millisecond || f.timeout > frame.MaxTimeout {
		return cli.Usagef("--timeout %s: expected 1ms to %s", f.timeout, frame.MaxTimeout)
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	box := f.box
	switch {
	case box == "":
		box = cfg.Controller.Box
	case !camera.ValidName(box):
		return cli.Usagef("--box %.80q: expected %s", box, camera.NameExpected)
	}
	if f.instance != "" {
		fields["instance"] = f.instance
	}
	// A tenth is left for the controller's own "not in time" to travel back.
	fields["timeout_ms"] = max(1, f.timeout.Milliseconds()*9/10)
	call, err := control.NewCall(box, fields)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	answers, err := call.Do(limited, cfg.Redis)
	if err != nil {
		if ctx.Err() != nil {
			return errInterrupted
		}
		return fmt.Errorf("%w (waited %s)", err, f.timeout)
	}
	shown, err := answersText(answers, f.instance != "", f.json)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(c.stdout, shown); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return answersError(c.stderr, box, f.instance != "", answers)
}
