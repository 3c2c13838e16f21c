package client

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"framekeeper/internal/cli"
	"framekeeper/internal/configfile"
	"framekeeper/internal/images"
	"framekeeper/internal/logging"
	"framekeeper/internal/receiver"
)

// runFlags are the flags of "client run".
type runFlags struct {
	cameras    []string
	duration   time.Duration
	noRequests bool
	noStore    bool
	json       bool
	group      string // the consumer group to share frames with
	grouped    bool   // --group was given
}

func (c console) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Request frames at an interval, receive and store them",
		Long: `Sends each camera a request every request_interval, with an angle that grows
by 25 up to 1000 and then begins again at 0, receives the frames and stores
them as images_dir/<camera>/<captured time>_<id>.jpg.

With --group NAME several such clients, on one host or on many, share each
camera's frames: every frame goes to one of them, and to another if that one
dies with it, so that each is stored at least once. All of them name the same
group; each needs an images_dir of its own. Redis stores the group's position:
its first client begins at the stream's oldest frame.

Ends at --duration, SIGINT or SIGTERM, and prints a summary. The exit code is 1
if nothing arrived from a camera that was asked, Redis was never reached, something
was lost, or images could not be stored at the end; else it is 0. "lost" has
requests without an answer and every frame that was not stored, whatever the
reason: undeclared, trimmed, corrupt, too large (for images_max_bytes), unstorable
(no image of this camera), not stored (they came faster than the disk takes them).
What the agent itself lost is "declared". Requests made before a camera's agent
published anything count as "too early", not as lost, unless it never publishes
anything. The next run receives the frames "left in stream".`,
		Example: `  client run --camera greencam1 --duration 1m
  client run --no-requests --group archive`,
		Args: cli.Args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.grouped = cmd.Flags().Changed("group")
			return c.run(cmd.Context(), f)
		},
	}
	cmd.Flags().StringArrayVar(&f.cameras, "camera", nil, "camera to use; may be repeated (default: all)")
	cmd.Flags().DurationVar(&f.duration, "duration", 0, "end after this time, such as 10s (default: never)")
	cmd.Flags().BoolVar(&f.noRequests, "no-requests", false, "send no requests, only receive frames")
	cmd.Flags().BoolVar(&f.noStore, "no-store", false, "receive and measure, but store no image")
	cmd.Flags().BoolVar(&f.json, "json", false, "print the summary as JSON, and no live line")
	cmd.Flags().StringVar(&f.group, "group", "", "share the frames with all clients that name this group (delivery stream or both)")
	return cmd
}

func (c console) run(ctx context.Context, f runFlags) (err error) {
	o, cfg, err := c.runOptions(f)
	if err != nil {
		return err
	}
	screen := newScreen(c.stdout, c.stderr)
	if f.json {
		screen = newScreen(io.Discard, c.stderr)
	}
	log, closer, err := logging.New(cfg.Log, "client", screen.logs())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	cfg.WarnReadable(log)
	o.Log = log
	if !f.noStore {
		if o.Store, err = images.Open(cfg.Client.Images, log); err != nil {
			return err
		}
	}
	r := receiver.New(*o)
	if f.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.duration)
		defer cancel()
		defer cli.LimitEnd(ctx, "client")()
	}
	r.Run(ctx, screen)
	screen.end()
	if o.Store != nil {
		err = o.Store.Close()
	}
	write := r.WriteSummary
	if f.json {
		write = r.WriteJSON
	}
	return errors.Join(err, write(c.stdout), r.Err())
}

// runOptions are what the flags and the configuration ask for.
func (c console) runOptions(f runFlags) (*receiver.Options, *configfile.Config, error) {
	if f.duration < 0 {
		return nil, nil, cli.Usagef("--duration %s: expected a positive time such as 10s", f.duration)
	}
	cfg, err := c.load()
	if err != nil {
		return nil, nil, err
	}
	cams, err := cameras(cfg, f.cameras)
	if err != nil {
		return nil, nil, err
	}
	streams := cfg.Delivery.Mode.Streams()
	switch {
	case !f.grouped:
	case !receiver.ValidGroup(f.group):
		return nil, nil, cli.Usagef("--group %.80q: expected %s", f.group, receiver.GroupExpected)
	case !streams:
		return nil, nil, cli.Usagef(`--group shares the frames of a stream, and delivery.mode = %q has none; set it to "stream" or "both"`,
			cfg.Delivery.Mode)
	}
	if !f.noRequests || !streams {
		if err := speaksJSON(cams...); err != nil {
			return nil, nil, err
		}
	}
	return &receiver.Options{
		Config: cfg.Client.Receiver, Redis: cfg.Redis, Cameras: cams, NoRequests: f.noRequests, Streams: streams, Group: f.group,
	}, cfg, nil
}
