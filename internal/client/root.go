// Package client is the program client: it requests, receives and stores frames,
// shows which agents are there and what their cameras see, and commands a box's controller. Only cmd/client
// calls it.
package client

import (
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"framekeeper/internal/cli"
	"framekeeper/internal/configfile"
	"framekeeper/pkg/camera"
)

// console is what every command gets: which configuration to read, and where to
// print.
type console struct {
	configFile     *string
	stdout, stderr io.Writer
}

// Program is the client, for main.
func Program() cli.Program { return cli.Program{Name: "client", Command: command} }

func command(stdout, stderr io.Writer) *cobra.Command {
	c := console{configFile: new(string), stdout: stdout, stderr: stderr}
	root := cli.Root(cli.Group(&cobra.Command{
		Use:   "client",
		Short: "Request, receive, store and watch camera frames",
		Example: `  client status
  client request --camera greencam1 --set angle=25 -o out.jpg
  client run --duration 1m
  client view`,
	}), c.configFile)
	root.AddCommand(c.runCommand(), c.requestCommand(), c.watchCommand(), c.statusCommand(), c.viewCommand(), c.eventsCommand(), c.controlCommand())
	return root
}

// load reads the configuration, as for a machine that opens no camera.
func (c console) load() (*configfile.Config, error) {
	cfg, err := configfile.LoadHost(*c.configFile)
	return cfg, cli.Usage(err)
}

// cameras are the configured cameras of these names, all of them for none.
func cameras(cfg *configfile.Config, names []string) ([]*camera.Config, error) {
	if len(cfg.Cameras) == 0 {
		return nil, cli.Usagef("%s has no [[camera]]: add one with the name of each camera to use", cfg.Path)
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
			return nil, cli.Usage(err)
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
		c, err := cfg.Camera(name)
		return c, cli.Usage(err)
	}
	all, err := cameras(cfg, nil)
	if err != nil {
		return nil, err
	}
	if len(all) > 1 {
		return nil, cli.Usagef("name a camera with --camera: %s", strings.Join(names(all), ", "))
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
			return cli.Usagef(`camera %s has wire = %q, which only the old Python client reads; set wire = "json" to request and receive its frames here`,
				c.Name, c.Wire)
		}
	}
	return nil
}

// errInterrupted ends a command that had something to deliver and could not.
var errInterrupted = errors.New("interrupted")
