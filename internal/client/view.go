package client

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"framekeeper/internal/cli"
	"framekeeper/internal/configfile"
	"framekeeper/internal/logging"
	"framekeeper/internal/view"
	"framekeeper/internal/web/access"
	"framekeeper/pkg/camera"
)

// viewFlags are the flags of "client view".
type viewFlags struct {
	redis   string
	cameras []string
	images  string
	web     access.Settings
	file    string // the configuration; "": none is read
}

func (c console) viewCommand() *cobra.Command {
	var f viewFlags
	cmd := &cobra.Command{
		Use:   "view",
		Short: "Serve a page of all boxes and cameras of a Redis",
		Long: `Serves a page of all boxes and cameras of a Redis: which are healthy, what they
see, and the images stored in a folder. Cameras are found by what their agents
report; a camera that has gone is shown for a day.

Pictures come through Redis: of a camera that somebody looks at the newest frame
once a second, of others none. "Take a picture" makes a request.

Everybody on this machine can look. For others name an address with --listen, and
a user with --user and --password-file; --tls-cert-file and --tls-key-file make it
HTTPS. An address of Redis with a password belongs into the configuration: whoever
lists processes sees the command line.`,
		Example: `  client view
  client view --redis redis://10.0.0.5:6379/0 --images images
  client view --listen 0.0.0.0:8081 --user op --password-file view.password`,
		Args: cli.Args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.redis == "" || cmd.Flags().Changed("config") {
				f.file = *c.configFile
			}
			return c.view(cmd.Context(), &f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.redis, "redis", "", "`URL` of Redis (default: the configuration's; without --config none is read then)")
	flags.StringArrayVar(&f.cameras, "camera", nil, "camera to show; may be repeated (default: all that there are)")
	flags.StringVar(&f.images, "images", "", "`DIR` of stored images to show, as client run stores them")
	flags.StringVar(&f.web.HTTP, "listen", "127.0.0.1:8081", "`ADDRESS` to serve on")
	flags.StringVar(&f.web.HTTPUser, "user", "", "`NAME` to ask visitors for")
	flags.StringVar(&f.web.HTTPPasswordFile, "password-file", "", "`FILE` with the password to ask visitors for")
	flags.StringVar(&f.web.HTTPTLSCertFile, "tls-cert-file", "", "`FILE` with the certificate for HTTPS")
	flags.StringVar(&f.web.HTTPTLSKeyFile, "tls-key-file", "", "`FILE` with its key")
	return cmd
}

// viewFlagOf is the flag that stands for a box's key.
var viewFlagOf = strings.NewReplacer( //nolint:gochecknoglobals // a constant table
	"http_user", "--user", "http_password_file", "--password-file", "http_tls_cert_file", "--tls-cert-file", "http_tls_key_file", "--tls-key-file",
)

func (c console) view(ctx context.Context, f *viewFlags) (err error) {
	cfg, err := f.load(c)
	if err != nil {
		return err
	}
	log, closer := logging.Begin(cfg.Log, "client", c.stderr)
	defer func() { err = errors.Join(err, closer.Close()) }()
	v, err := view.Listen(ctx, view.Options{
		Redis: cfg.Redis, Cameras: cfg.Cameras, Only: f.cameras, Web: f.web, Images: f.images,
		Client: cli.ClientCommand(f.file), Version: cli.Version(), Log: log,
	})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c.stdout, "%s://%s/\n", f.scheme(), v.Addr()); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return v.Run(ctx)
}

func (f *viewFlags) scheme() string {
	if f.web.HTTPTLSCertFile != "" {
		return "https"
	}
	return "http"
}

// load checks the flags and reads the configuration.
func (f *viewFlags) load(c console) (*configfile.Config, error) {
	var wrong error
	f.web.Validate(func(key, value, expected string) {
		if key == "http" {
			key = "--listen"
		}
		wrong = errors.Join(wrong, cli.Usagef("%s %.80q: expected %s", viewFlagOf.Replace(key), value, viewFlagOf.Replace(expected)))
	})
	if f.web.HTTP == "" {
		wrong = errors.Join(wrong, cli.Usagef("--listen \"\": expected host:port"))
	}
	for _, name := range f.cameras {
		if !camera.ValidName(name) {
			wrong = errors.Join(wrong, cli.Usagef("--camera %.80q: expected %s", name, camera.NameExpected))
		}
	}
	switch {
	case wrong != nil:
		return nil, wrong
	case f.redis == "":
		return c.load()
	}
	cfg, err := configfile.LoadHostAt(f.file, f.redis)
	return cfg, cli.Usage(err)
}
