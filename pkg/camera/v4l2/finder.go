package v4l2

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"framekeeper/internal/text"
	"framekeeper/pkg/camera"
)

// finder finds nodes. Its fields are the kernel's directories and how to ask
// a node what it is; tests have others.
type finder struct {
	dev   string // /dev
	sysfs string // /sys/class/video4linux
	// probe opens a node and returns the bus it is on, or why it is no camera.
	probe func(path string) (bus string, err error)
}

// node is what sysfs has of /dev/videoN, without opening it.
type node struct {
	number int
	path   string
	name   string
	serial string
	port   string // of USB: "1-1.2"
	owner  string // the directory of the device it belongs to, USB device and not interface
}

// nodes are the device nodes in their order. Those in /dev count, since only they
// can be opened; sysfs, which a container may not show, adds to them.
func (f finder) nodes() ([]node, error) {
	paths, err := filepath.Glob(filepath.Join(f.dev, "video[0-9]*"))
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	var all []node
	for _, path := range paths {
		if n, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), "video")); err == nil {
			all = append(all, f.describe(n, path))
		}
	}
	slices.SortFunc(all, func(a, b node) int { return cmp.Compare(a.number, b.number) })
	return all, nil
}

func (f finder) describe(number int, path string) node {
	dir := filepath.Join(f.sysfs, filepath.Base(path))
	n := node{number: number, path: path, name: attribute(dir, "name"), owner: path}
	device, err := filepath.EvalSymlinks(filepath.Join(dir, "device"))
	if err != nil {
		return n
	}
	n.owner = device
	// The node hangs on a USB interface, whose parent is the USB device.
	if usb := filepath.Dir(device); attribute(usb, "idVendor") != "" {
		n.owner, n.port, n.serial = usb, filepath.Base(usb), attribute(usb, "serial")
	} else {
		n.serial = attribute(device, "serial")
	}
	return n
}

// attribute is the text of a file of sysfs, "" if there is none.
func attribute(dir, name string) string {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return printable(data[:min(len(data), 200)])
}

// printable is a text of a device, which may call itself anything.
func printable(b []byte) string { return text.Printable(strings.TrimSpace(string(b)), 0) }

// resolve finds the node for what stands in a source: a path, or what follows
// v4l2:, which is a number, serial=…, usb=…, bus=…, a file name in /dev/v4l/by-id
// or by-path, or the camera's name if it is the only one of that name.
func (f finder) resolve(rest string) (string, error) {
	rest = strings.TrimSpace(rest)
	if strings.HasPrefix(rest, "/") {
		return rest, nil
	}
	if n, err := strconv.ParseUint(rest, 10, 16); err == nil {
		return filepath.Join(f.dev, "video"+strconv.FormatUint(n, 10)), nil
	}
	key, value, ok := strings.Cut(rest, "=")
	if ok && value != "" {
		switch key {
		case "serial":
			return f.only(rest, func(n node) bool { return n.serial == value })
		case "usb":
			return f.only(rest, func(n node) bool { return n.port == value })
		case "bus":
			return f.only(rest, func(n node) bool {
				bus, err := f.probe(n.path)
				return err == nil && bus == value
			})
		}
	}
	if filepath.Base(rest) == rest {
		for _, dir := range []string{"by-id", "by-path"} {
			link := filepath.Join(f.dev, "v4l", dir, rest)
			if _, err := os.Lstat(link); err == nil {
				return link, nil
			}
		}
	}
	return f.only(rest, func(n node) bool { return n.name == rest })
}

// only is the first camera node of the one device that matches.
func (f finder) only(what string, matches func(node) bool) (string, error) {
	all, err := f.nodes()
	if err != nil {
		return "", err
	}
	var found, others []string
	var refused []error
	owner := ""
	for _, n := range all {
		if !matches(n) {
			others = append(others, n.String())
			continue
		}
		if _, err := f.probe(n.path); err != nil {
			refused = append(refused, err)
			continue
		}
		if len(found) > 0 && n.owner == owner {
			continue // a second image of the same camera, such as infrared
		}
		owner = n.owner
		found = append(found, n.path)
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", fmt.Errorf("%w: v4l2:%s is not one camera but %s; name the port instead: v4l2:usb=… or v4l2:bus=…, see cam-agent --list-devices",
			camera.ErrNoDevice, what, strings.Join(found, ", "))
	case len(refused) > 0:
		return "", errors.Join(refused...)
	case len(others) == 0:
		return "", fmt.Errorf("%w: v4l2:%s: no camera is plugged in; expected %s", camera.ErrNoDevice, what, SourceExpected)
	}
	return "", fmt.Errorf("%w: v4l2:%s; there is %s; expected %s", camera.ErrNoDevice, what, strings.Join(others, ", "), SourceExpected)
}

func (n node) String() string {
	s := n.path
	if n.name != "" {
		s += " " + n.name
	}
	if n.serial != "" {
		s += " serial=" + n.serial
	}
	if n.port != "" {
		s += " usb=" + n.port
	}
	return s
}

// links are the names udev gave a node, those that name the camera before those
// that name the port.
func (f finder) links(n node) []string {
	var all []string
	for _, dir := range []string{"by-id", "by-path"} {
		paths, err := filepath.Glob(filepath.Join(f.dev, "v4l", dir, "*"))
		if err != nil {
			continue
		}
		for _, path := range paths {
			if target, err := filepath.EvalSymlinks(path); err == nil && target == n.path {
				all = append(all, path)
			}
		}
	}
	return all
}

// source is the line for config.toml that will find this camera again.
func (f finder) source(n node, bus string, all []node) string {
	links := f.links(n)
	twin := slices.ContainsFunc(all, func(o node) bool { return o.owner != n.owner && o.serial == n.serial })
	switch byID := filepath.Join(f.dev, "v4l", "by-id") + "/"; {
	// Of two cameras with one serial number udev names whichever came last.
	case len(links) > 0 && (!twin || !strings.HasPrefix(links[0], byID)):
		return links[0]
	case n.serial != "" && !twin:
		return "v4l2:serial=" + n.serial
	case n.port != "":
		return "v4l2:usb=" + n.port
	case bus != "":
		return "v4l2:bus=" + bus
	}
	return n.path
}
