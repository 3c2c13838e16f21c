// Package configfile is config.toml, the one file of all three programs: it puts
// the sections together whose types stand in the packages they configure, and
// checks what no section can find out alone. A Config it returns is complete and
// valid. Programs call Load, at their start and for a reload; parts do not, each
// gets its own section from the program. How a file is read and what a report
// looks like is internal/config's.
package configfile

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"framekeeper/internal/config"
	"framekeeper/internal/images"
	"framekeeper/internal/logging"
	"framekeeper/internal/notify"
	"framekeeper/internal/receiver"
	"framekeeper/internal/supervise"
	"framekeeper/internal/telemetry"
	"framekeeper/internal/web/access"
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
	Controller Controller       `toml:"controller"`
	Notify     notify.Config    `toml:"notify"`
	Client     Client           `toml:"client"`
	Cameras    []camera.Config  `toml:"camera"`

	Path string // the file it came from
	Text []byte // what that held, when it was read by a Load

	Socket string // the descriptor of the socket that LoadHanded was handed; "": none was

	host bool // cameras may be missing, and their sources
}

// Client is the [client] table; its parts' keys stand in it side by side.
type Client struct {
	Images   images.Config
	Receiver receiver.Config
}

var _ = [...]config.Section{&redisconn.Config{}, &outbox.Delivery{}, &logging.Config{}, &Controller{},
	&telemetry.Settings{}, &access.Settings{}, &supervise.Settings{}, &images.Config{}, &receiver.Config{}, &camera.Config{}, &notify.Config{}}

// defaults is a configuration whose file is empty, with the defaults of a camera.
func defaults() *Config {
	return &Config{
		StateDir:   "./state",
		Redis:      redisconn.Default(),
		Delivery:   outbox.DefaultDelivery(),
		Log:        logging.Default(),
		Controller: defaultController(),
		Notify:     notify.Default(),
		Client:     Client{images.Default(), receiver.Default()},
		Cameras:    []camera.Config{camera.Default()},
	}
}

// Load reads a file and the FRAMEKEEPER_ variables of the environment. When the
// file is wrong the error is a *config.Error.
func Load(path string) (*Config, error) { return load(path, defaults()) }

// LoadHost is Load for a machine that opens no camera: a [[camera]] needs no source
// there, and there may be none.
func LoadHost(path string) (*Config, error) {
	cfg := defaults()
	cfg.host = true
	return load(path, cfg)
}

// LoadHostAt is LoadHost with url in the place of [redis] url. Path "" is no file.
func LoadHostAt(path, url string) (*Config, error) {
	var data []byte
	if path != "" {
		var err error
		if data, err = config.ReadFile(path); err != nil {
			return nil, err
		}
	}
	cfg := defaults()
	cfg.host, cfg.Text = true, data
	return parse(path, data, append(os.Environ(), "FRAMEKEEPER_REDIS_URL="+url), cfg)
}

// LoadPage is where the page is by a file that may be wrong: what can be read of it
// counts, the defaults for the rest. A controller goes on while its file is broken,
// and has to be found.
func LoadPage(path string) access.Settings {
	cfg := defaults()
	_, _ = load(path, cfg) // Load reports what is wrong
	return cfg.Controller.Web
}

func load(path string, cfg *Config) (*Config, error) {
	data, err := config.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseText(path, data, cfg)
}

func parseText(path string, data []byte, cfg *Config) (*Config, error) {
	cfg.Text = data
	return parse(path, data, os.Environ(), cfg)
}

// LoadHanded reads the text that a controller has handed to this process, or
// the file if there is none. The controller hands over what it has accepted: an
// agent that starts while the file is being edited, or is broken, runs like
// those that have been running. It is to be called once, first of all.
func LoadHanded(path string) (*Config, error) {
	socket, err := handed(supervise.SocketVariable)
	if err != nil {
		return nil, err
	}
	cfg, err := loadText(path)
	if err == nil && socket > 0 {
		cfg.Socket = strconv.Itoa(socket)
	}
	return cfg, err
}

// handed is the descriptor that the controller has handed over in a variable; 0: none.
// Neither the variable nor the descriptor is for what we start ourselves.
func handed(variable string) (int, error) {
	text, there := os.LookupEnv(variable)
	if !there {
		return 0, nil
	}
	if err := os.Unsetenv(variable); err != nil {
		return 0, fmt.Errorf("read %s: %w", variable, err)
	}
	fd, err := strconv.ParseUint(text, 10, 16)
	if err != nil || fd < 3 {
		return 0, fmt.Errorf("%s=%.20q: expected the number of a descriptor; it is set by the controller and by nobody else", variable, text)
	}
	syscall.CloseOnExec(int(fd))
	return int(fd), nil
}

// loadText reads the text that was handed over, or the file.
func loadText(path string) (*Config, error) {
	fd, err := handed(supervise.ConfigVariable)
	switch {
	case err != nil:
		return nil, err
	case fd == 0:
		return Load(path)
	}
	f := os.NewFile(uintptr(fd), path)
	defer func() { _ = f.Close() }() // nothing was written
	data, err := config.ReadText(f)
	if err != nil {
		return nil, fmt.Errorf("read handed configuration: %w", err)
	}
	return parseText(path, data, defaults())
}

// Parse reads the text of a file. Path is what reports call it, environ has the
// form of os.Environ.
func Parse(path string, data []byte, environ []string) (*Config, error) {
	return parse(path, data, environ, defaults())
}

func parse(path string, data []byte, environ []string, cfg *Config) (*Config, error) {
	cfg.Path = path
	if err := config.Parse(path, data, slices.DeleteFunc(slices.Clone(environ), isInternal), cfg); err != nil {
		return nil, err
	}
	return cfg, nil
}

// isInternal picks the variables that our programs give to those they start,
// which may well be our programs too.
func isInternal(entry string) bool {
	switch name, _, _ := strings.Cut(entry, "="); name {
	case supervise.EnvCamera, supervise.EnvSource, supervise.EnvExitCode, supervise.EnvRestarts, supervise.ConfigVariable, supervise.SocketVariable:
		return true
	}
	return false
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

// Complete works out the names that follow from other names.
func (c *Config) Complete() {
	c.Controller.FillNames()
	for i := range c.Cameras {
		c.Cameras[i].FillNames()
		c.Cameras[i].Elsewhere = c.host
	}
}

// Check reports what is wrong between the sections.
func (c *Config) Check(r *config.Report) {
	if c.StateDir == "" {
		r.AddText("state_dir", "", "expected a directory")
	}
	if len(c.Cameras) == 0 && !c.host {
		r.Add("camera", "", "missing, expected a [[camera]] with a name and a source for each camera")
	}
	seen := make(map[string]bool)
	for i := range c.Cameras {
		name := c.Cameras[i].Name
		if seen[name] && name != "" {
			r.AddText(cameraPath(i, "name"), name, "expected a name that no other camera has")
		}
		seen[name] = true
	}
	c.checkDirectories(r)
	c.checkRedisNames(r)
}

func cameraPath(i int, key string) string { return fmt.Sprintf("camera[%d].%s", i, key) }

// checkRedisNames reports channels and keys on Redis that two things would share:
// a camera would take the other's frames for requests, or overwrite its log.
func (c *Config) checkRedisNames(r *config.Report) {
	channels := map[string]string{
		"control/" + c.Controller.Box:       "the controller's commands",
		"control-reply/" + c.Controller.Box: "the controller's answers",
	}
	keys := map[string]string{}
	claim := func(names map[string]string, path, name, owner string) {
		if other, taken := names[name]; taken {
			r.AddText(path, name, "expected a name of its own; this is also "+other)
			return
		}
		names[name] = owner
	}
	claim(channels, "controller.log_topic", c.Controller.Telemetry.LogTopic, "controller.log_topic")
	seen := make(map[string]bool)
	for i := range c.Cameras {
		cam := &c.Cameras[i]
		if !camera.ValidName(cam.Name) || seen[cam.Name] {
			continue // reported already, and its names follow from that
		}
		seen[cam.Name] = true
		own := func(names map[string]string, key, name string) {
			path := cameraPath(i, key)
			claim(names, path, name, r.Display(path))
		}
		status := strings.TrimSuffix(r.Display(cameraPath(i, "name")), ".name") + "'s status"
		claim(channels, cameraPath(i, "name"), cam.StatusTopic(), status)
		own(channels, "request_topic", cam.RequestTopic)
		own(channels, "stream_topic", cam.StreamTopic)
		claim(keys, cameraPath(i, "name"), cam.StatusKey(), status)
		own(keys, "frames_key", cam.FramesKey)
	}
}

// Controller is the [controller] table: the box's name, and what each part of the
// controller has in it.
type Controller struct {
	Box       string `toml:"box"` // "": the host name
	Telemetry telemetry.Settings
	Web       access.Settings
	Agents    supervise.Settings
}

func defaultController() Controller {
	return Controller{Telemetry: telemetry.Default(), Web: access.Default(), Agents: supervise.Default()}
}

// FillNames gives the box and its log topic their defaults.
func (c *Controller) FillNames() {
	if c.Box == "" {
		host, _ := os.Hostname()
		c.Box = boxName(host)
	}
	c.Telemetry.FillNames(c.Box)
}

// boxName makes a valid name of a host name.
func boxName(host string) string {
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return -1
	}, host)
	name = strings.TrimLeft(name, "-_")
	if name = name[:min(len(name), 64)]; name == "" {
		return "box"
	}
	return name
}

// Validate reports what is wrong with the table's own key; its parts do theirs.
func (c *Controller) Validate(report func(key, value, expected string)) {
	if c.Box != "" && !camera.ValidName(c.Box) {
		report("box", c.Box, camera.NameExpected)
	}
}
