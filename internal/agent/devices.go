package agent

import (
	"fmt"
	"io"
	"strings"

	"framekeeper/internal/cli"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/camera/v4l2"
)

// listDevices prints every V4L2 camera with the line that opens it, what it can
// send, and its controls.
func listDevices(out io.Writer, asJSON bool) error {
	cameras, others, err := v4l2.Devices()
	if err != nil {
		return err
	}
	if asJSON {
		return cli.WriteJSON(out, map[string]any{"devices": cameras})
	}
	var b strings.Builder
	if len(cameras) == 0 {
		b.WriteString("no V4L2 camera: plug one in, and check that dmesg reports it; a container needs --device /dev/video0.\n" +
			"source = \"test:\" needs none.\n")
	}
	for i := range cameras {
		if i > 0 {
			b.WriteByte('\n')
		}
		describeDevice(&b, &cameras[i])
	}
	if len(others) > 0 {
		b.WriteString("\nother nodes\n")
	}
	for _, other := range others {
		fmt.Fprintf(&b, "  %s\n", strings.TrimPrefix(other.Error(), camera.ErrNoDevice.Error()+": "))
	}
	_, err = io.WriteString(out, b.String())
	return err
}

func describeDevice(b *strings.Builder, d *v4l2.Device) {
	fmt.Fprintf(b, "%s  %s  (driver %s, bus %s", d.Path, d.Name, d.Driver, d.Bus)
	if d.Serial != "" {
		fmt.Fprintf(b, ", serial %s", d.Serial)
	}
	if d.USBPort != "" {
		fmt.Fprintf(b, ", USB port %s", d.USBPort)
	}
	fmt.Fprintf(b, ")\n  source = %q\n", d.Source)
	for _, link := range d.Links {
		if link != d.Source {
			fmt.Fprintf(b, "  also %s\n", link)
		}
	}
	var useless []string
	for _, f := range d.Formats {
		if f.Usable {
			describeFormat(b, f)
		} else {
			useless = append(useless, f.Name)
		}
	}
	if len(useless) > 0 {
		fmt.Fprintf(b, "  not for cam-agent: %s\n", strings.Join(useless, " "))
	}
	if len(d.Controls) > 0 {
		b.WriteString("  controls\n")
	}
	for i := range d.Controls {
		describeControl(b, &d.Controls[i])
	}
}

// describeFormat puts sizes that come at the same rates on one line.
func describeFormat(b *strings.Builder, f v4l2.Format) {
	fmt.Fprintf(b, "  %-5s%s\n", f.Name, f.Text)
	for i := 0; i < len(f.Sizes); {
		rates := shownRates(f.Sizes[i].Rates)
		sizes := []string{shownSize(f.Sizes[i])}
		for i++; i < len(f.Sizes) && shownRates(f.Sizes[i].Rates) == rates; i++ {
			sizes = append(sizes, shownSize(f.Sizes[i]))
		}
		fmt.Fprintf(b, "       %s%s\n", strings.Join(sizes, " "), rates)
	}
}

func shownSize(s v4l2.Size) string {
	size := fmt.Sprintf("%dx%d", s.MinWidth, s.MinHeight)
	if s.MaxWidth != s.MinWidth || s.MaxHeight != s.MinHeight {
		size += fmt.Sprintf(" to %dx%d", s.MaxWidth, s.MaxHeight)
	}
	return size
}

func shownRates(rates []v4l2.Rate) string {
	if len(rates) == 0 {
		return ""
	}
	shown := make([]string, len(rates))
	for i, r := range rates {
		shown[i] = fmt.Sprintf("%.4g", r.Max)
		if r.Min < r.Max {
			shown[i] = fmt.Sprintf("%.4g to %.4g", r.Min, r.Max)
		}
	}
	return " at " + strings.Join(shown, ", ") + " fps"
}

func describeControl(b *strings.Builder, c *v4l2.Control) {
	fmt.Fprintf(b, "    %s", c.Name)
	for _, alias := range c.Aliases {
		if alias != c.Name {
			fmt.Fprintf(b, " (or %s)", alias) // the first is the short one
			break
		}
	}
	if c.Note == "button" {
		b.WriteString(": a button, any number presses it\n")
		return
	}
	fmt.Fprintf(b, " = %d: %s, default %d", c.Value, c.Range(), c.Default)
	if c.Note != "" {
		fmt.Fprintf(b, ", %s", c.Note)
	}
	b.WriteByte('\n')
}
