package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// listDevices prints every V4L2 device node with the kernel's name for it and
// the source line that opens it.
func listDevices(out io.Writer) error {
	return listNodes("/dev", "/sys/class/video4linux", out)
}

// listNodes lists the nodes in dev, since only those can be opened; sysfs, which
// a container may not show, only adds their names.
func listNodes(dev, sysfs string, out io.Writer) error {
	paths, err := filepath.Glob(filepath.Join(dev, "video[0-9]*"))
	if err != nil {
		return fmt.Errorf("list devices: %w", err)
	}
	var numbers []int
	for _, path := range paths {
		if n, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), "video")); err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	if len(numbers) == 0 {
		_, err := fmt.Fprintln(out, "no V4L2 device: plug a camera in, and check that this user is in group video")
		return err
	}
	for _, n := range numbers {
		node := "video" + strconv.Itoa(n)
		if _, err := fmt.Fprintf(out, "%s  %s  source = \"opencv:%d\"\n", filepath.Join(dev, node), deviceName(filepath.Join(sysfs, node)), n); err != nil {
			return err
		}
	}
	return nil
}

// deviceName is what the driver calls the device; a device may call itself
// anything, so only printable characters are shown.
func deviceName(dir string) string {
	text, err := os.ReadFile(filepath.Join(dir, "name"))
	if err != nil {
		return "(name unknown)"
	}
	name := strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, string(text[:min(len(text), 100)])))
	if name == "" {
		return "(name unknown)"
	}
	return name
}
