package client

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"framekeeper/internal/cli"
	"framekeeper/internal/configfile"
	"framekeeper/internal/images"
	"framekeeper/internal/logging"
	"framekeeper/pkg/camera"
)

// runFlags are the flags of "client run".
type runFlags struct {
	cameras    []string
	duration   time.Duration
	noRequests bool
	noStore    bool
	group      string // the pool to share frames with
	grouped    bool   // --group was given
}

func newRunCmd(a *app) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Request frames all the time, receive and store them",
		Long: `Sends each camera a request every request_interval, with an angle that grows
by 25 up to 1000 and then begins again at 0, receives the frames and stores
them as images_dir/<camera>/<captured time>_<id>.jpg.

With --group NAME several such clients, on one host or on many, share each
camera's frames: every frame goes to one of them, and to another if that one
dies with it, so that each is stored at least once. All of them name the same
group; each needs an images_dir of its own. The pool remembers in Redis how far
it has come: its first client begins at the stream's oldest frame.

Ends in order at --duration, SIGINT or SIGTERM, and prints what came of it.
The exit code is 0 if all went well, and 1 if nothing arrived from a camera that
was asked, Redis was never reached, something was lost (the summary's "lost"),
or images could not be stored. Requests made before a camera's agent was first
heard of, by an answer or anything else it publishes, are "too early" and not
lost, unless it is never heard of. What is "left in stream" comes with the next
run.`,
		Example: `  client run --camera greencam1 --duration 1m
  client run --no-requests --group archive`,
		Args: cli.Args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.grouped = cmd.Flags().Changed("group")
			return a.run(cmd.Context(), f)
		},
	}
	cmd.Flags().StringArrayVar(&f.cameras, "camera", nil, "camera to use; may be repeated (default: all)")
	cmd.Flags().DurationVar(&f.duration, "duration", 0, "end after this time, such as 10s (default: never)")
	cmd.Flags().BoolVar(&f.noRequests, "no-requests", false, "only receive what is sent anyway")
	cmd.Flags().BoolVar(&f.noStore, "no-store", false, "receive and measure, but keep no image")
	cmd.Flags().StringVar(&f.group, "group", "", "share the frames with all clients that name this group (delivery stream or both)")
	return cmd
}

func (a *app) run(ctx context.Context, f runFlags) (err error) {
	cfg, cams, err := a.runConfig(f)
	if err != nil {
		return err
	}
	screen := newScreen(a.stdout, a.stderr)
	log, closer, err := logging.New(cfg.Log, "client", screen.logs())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	store, err := openStore(cfg, f, log)
	if err != nil {
		return err
	}
	r := newRunner(cfg, cams, f, store, log)
	if f.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.duration)
		defer cancel()
		defer cli.LimitEnd(ctx, "client")()
	}
	r.run(ctx, screen)
	screen.end()
	if store != nil {
		err = store.Close()
	}
	return errors.Join(err, r.summary(a.stdout), r.verdict())
}

func (a *app) runConfig(f runFlags) (*configfile.Config, []*camera.Config, error) {
	if f.duration < 0 {
		return nil, nil, cli.Usagef("--duration %s: expected a positive time such as 10s", f.duration)
	}
	cfg, err := a.load()
	if err != nil {
		return nil, nil, err
	}
	cams, err := cameras(cfg, f.cameras)
	if err != nil {
		return nil, nil, err
	}
	if err := checkPool(cfg, f); err != nil {
		return nil, nil, err
	}
	if !f.noRequests || !cfg.Delivery.Mode.Streams() {
		if err := speaksJSON(cams...); err != nil {
			return nil, nil, err
		}
	}
	return cfg, cams, nil
}

// openStore returns nil when nothing is to be stored.
func openStore(cfg *configfile.Config, f runFlags, log zerolog.Logger) (*images.Store, error) {
	if f.noStore {
		return nil, nil
	}
	return images.Open(cfg.Client, log)
}
