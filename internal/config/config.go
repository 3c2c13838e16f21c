// Package config reads config.toml, the one file of all three programs. It
// promises that a Config it returns is complete and valid, that everything
// wrong with a file is reported at once, each with its line, its key, its value
// and what was expected, and that no password appears in a report. It refuses
// keys it does not know. Programs call Load; the sections' types and their
// checks belong to the packages they configure.
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"framekeeper/internal/images"
	"framekeeper/internal/logging"
	"framekeeper/internal/supervise"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/redisconn"
)

// Config is one configuration file with its defaults filled in.
type Config struct {
	StateDir   string           `toml:"state_dir"`
	Redis      redisconn.Config `toml:"redis"`
	Delivery   outbox.Delivery  `toml:"delivery"`
	Log        logging.Config   `toml:"log"`
	Controller supervise.Config `toml:"controller"`
	Client     images.Config    `toml:"client"`
	Cameras    []camera.Config  `toml:"camera"`

	Path string // the file it came from
	Text []byte // what that held, when it was read by a Load
}

// defaults is a configuration whose file is empty.
func defaults() *Config {
	return &Config{
		StateDir:   "./state",
		Redis:      redisconn.Default(),
		Delivery:   outbox.DefaultDelivery(),
		Log:        logging.Default(),
		Controller: supervise.Default(),
		Client:     images.Default(),
	}
}

// maxFile bounds a configuration file. Real ones have some kilobytes.
const maxFile = 256 << 10

// Load reads a file and the FRAMEKEEPER_ variables of the environment. When the
// file is wrong the error is an *Error.
func Load(path string) (*Config, error) {
	data, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no configuration file %s: copy the config.toml that comes with Framekeeper there, or name yours with --config FILE", path)
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("read configuration: %w: it may hold passwords, so call this with sudo, or as a user of the file's group", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return load(path, data)
}

func load(path string, data []byte) (*Config, error) {
	cfg, err := Parse(path, data, os.Environ())
	if err == nil {
		cfg.Text = data
	}
	return cfg, err
}

// pipePatience is how long a configuration that comes through a pipe may take: a
// reload that waited for ever could not be followed by another, nor be ended.
const pipePatience = 5 * time.Second

func read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // else a pipe waits for somebody to write
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()                    // nothing was written
	_ = f.SetReadDeadline(time.Now().Add(pipePatience)) // a regular file has none, and needs none
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("%s is no file, and who writes to it did not end within %v", path, pipePatience)
	case err == nil && len(data) == 0:
		if info, serr := f.Stat(); serr == nil && !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is no file, and nothing came out of it", path)
		}
	}
	return data, err
}

// Parse reads the text of a file. Path is what reports call it, environ has the
// form of os.Environ.
func Parse(path string, data []byte, environ []string) (*Config, error) {
	l := &loader{file: path, cfg: defaults(), origin: make(map[string]string), reported: make(map[string]bool)}
	l.cfg.Path = path
	if len(data) > maxFile {
		l.problems = append(l.problems, Problem{File: path, What: fmt.Sprintf("the file is larger than %d KiB", maxFile>>10)})
		return nil, l.err()
	}
	raw, problem := decodeTOML(path, data)
	if problem != nil {
		return nil, &Error{Problems: []Problem{*problem}}
	}
	l.lines = findLines(string(data))
	l.root(raw)
	l.environment(environ)
	l.cfg.Controller.FillNames()
	for i := range l.cfg.Cameras {
		l.cfg.Cameras[i].FillNames()
	}
	l.validate()
	if err := l.err(); err != nil {
		return nil, err
	}
	return l.cfg, nil
}

// Camera is the configuration of the camera of that name.
func (c *Config) Camera(name string) (*camera.Config, error) {
	names := make([]string, len(c.Cameras))
	for i := range c.Cameras {
		if c.Cameras[i].Name == name {
			return &c.Cameras[i], nil
		}
		names[i] = c.Cameras[i].Name
	}
	return nil, fmt.Errorf("no camera %q in %s; it has %s", name, c.Path, strings.Join(names, ", "))
}
