package configfile

import (
	"os"
	"strings"

	"framekeeper/internal/supervise"
	"framekeeper/internal/telemetry"
	"framekeeper/internal/web"
	"framekeeper/pkg/camera"
)

// Controller is the [controller] table: the box's name, and what each part of the
// controller has in it.
type Controller struct {
	Box       string `toml:"box"` // "": the host name
	Telemetry telemetry.Settings
	Web       web.Settings
	Agents    supervise.Settings
}

func defaultController() Controller {
	return Controller{Telemetry: telemetry.Default(), Web: web.Default(), Agents: supervise.Default()}
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
