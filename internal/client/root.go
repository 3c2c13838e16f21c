package client

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"framekeeper/internal/configfile"
	"framekeeper/internal/text"
	"framekeeper/internal/version"
	"framekeeper/pkg/camera"
)

// app is what every subcommand needs.
type app struct {
	configFile     string
	finish         func() // ends the program's context
	stdout, stderr io.Writer
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:           "client",
		Short:         "Request, receive, store and watch camera frames",
		Version:       version.String(),
		Args:          noCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() }, // so that Args is looked at
		SilenceUsage:  true,                                                             // an error is one line, not a page
		SilenceErrors: true,                                                             // main prints it
	}
	root.PersistentFlags().StringVar(&a.configFile, "config", "config.toml", "configuration file")
	root.SetVersionTemplate("client {{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newRunCmd(a), newRequestCmd(a), newWatchCmd(a), newStatusCmd(a), newControlCmd(a))
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())
	})
	return root
}

// noCommand refuses what follows a command that only holds others.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return fmt.Errorf("unknown command %q; %s has %s", args[0], cmd.CommandPath(), strings.Join(names, ", "))
}

// cameras are the configured cameras of these names, all of them for none.
func cameras(cfg *configfile.Config, names []string) ([]*camera.Config, error) {
	if len(cfg.Cameras) == 0 {
		return nil, fmt.Errorf("%s has no [[camera]]", cfg.Path)
	}
	var picked []*camera.Config
	if len(names) == 0 {
		for i := range cfg.Cameras {
			picked = append(picked, &cfg.Cameras[i])
		}
		return picked, nil
	}
	seen := map[string]bool{}
	for _, name := range names {
		c, err := cfg.Camera(name)
		if err != nil {
			return nil, err
		}
		if !seen[name] {
			picked = append(picked, c)
		}
		seen[name] = true
	}
	return picked, nil
}

// oneCamera is the named camera, or the only one there is.
func oneCamera(cfg *configfile.Config, name string) (*camera.Config, error) {
	if name != "" {
		return cfg.Camera(name)
	}
	all, err := cameras(cfg, nil)
	if err != nil {
		return nil, err
	}
	if len(all) > 1 {
		return nil, fmt.Errorf("name a camera with --camera: %s", strings.Join(names(all), ", "))
	}
	return all[0], nil
}

func names(cams []*camera.Config) []string {
	var out []string
	for _, c := range cams {
		out = append(out, c.Name)
	}
	return out
}

// speaksJSON refuses cameras whose pub/sub side speaks the old system's wire.
func speaksJSON(cams ...*camera.Config) error {
	for _, c := range cams {
		if c.Wire != camera.WireJSON {
			return fmt.Errorf(`camera %s has wire = %q, which only the old Python client reads; set wire = "json" to request and receive its frames here`,
				c.Name, c.Wire)
		}
	}
	return nil
}

// errInterrupted ends a command that had something to deliver and could not.
var errInterrupted = errors.New("interrupted")

// OneLine is an error as the last line of a program's life.
func OneLine(err error) string {
	return text.Printable(strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; "), 0)
}
