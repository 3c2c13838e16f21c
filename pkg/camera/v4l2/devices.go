package v4l2

import "math"

// Device is a camera that is plugged in.
type Device struct {
	Path     string // /dev/video0
	Name     string // what the camera calls itself
	Driver   string
	Bus      string // "usb-0000:00:14.0-2"
	Serial   string // "" if it has none
	USBPort  string // "1-1.2", "" if it is none
	Links    []string
	Source   string // what to write into config.toml
	Formats  []Format
	Controls []Control
}

// Format is a pixel format with its sizes.
type Format struct {
	Name   string // "MJPG"
	Text   string // the driver's description
	Usable bool   // cam-agent understands it
	Sizes  []Size
}

// Size is one size and its rates, or a range of both.
type Size struct {
	MinWidth, MinHeight int
	MaxWidth, MaxHeight int
	Rates               []Rate
}

// Rate is one rate in frames a second, or a range.
type Rate struct{ Min, Max float64 }

// local finds the devices of this machine.
func local() finder {
	return finder{dev: "/dev", sysfs: "/sys/class/video4linux", probe: probe}
}

// probe is the bus a node is on, or the reason why it is no camera.
func probe(path string) (bus string, err error) {
	d, err := openNode(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = d.close() }()
	return d.bus, d.checkCapture()
}

// Devices are the cameras that are plugged in, each with what it offers; one that
// is in use is among them. others has the reason why each further node is none.
func Devices() (cameras []Device, others []error, err error) {
	f := local()
	all, err := f.nodes()
	if err != nil {
		return nil, nil, err
	}
	for _, n := range all {
		d, err := openNode(n.path)
		if err != nil {
			others = append(others, err)
			continue
		}
		if err := d.checkCapture(); err != nil {
			others = append(others, err)
		} else {
			cameras = append(cameras, d.inspect(f, n, all))
		}
		if err := d.close(); err != nil {
			others = append(others, err)
		}
	}
	return cameras, others, nil
}

func (d *device) inspect(f finder, n node, all []node) Device {
	out := Device{
		Path: d.path, Name: d.card, Driver: d.driver, Bus: d.bus, Serial: n.serial, USBPort: n.port,
		Links: f.links(n), Source: f.source(n, d.bus, all), Controls: d.controls(),
	}
	for _, name := range d.formatNames() {
		_, usable := layoutOf(name.code)
		format := Format{Name: name.code.String(), Text: name.description, Usable: usable}
		for _, s := range d.sizes(name.code) {
			format.Sizes = append(format.Sizes, Size{
				MinWidth: s.width.low, MaxWidth: s.width.high, MinHeight: s.height.low, MaxHeight: s.height.high,
				Rates: shownRates(d.rates(name.code, s.width.high, s.height.high)),
			})
		}
		out.Formats = append(out.Formats, format)
	}
	return out
}

func shownRates(offers []rateRange) []Rate {
	var all []Rate
	for _, r := range offers {
		if high, low := r.shortest.fps(), r.longest.fps(); high > 0 && !math.IsInf(high, 0) {
			all = append(all, Rate{Min: min(low, high), Max: high})
		}
	}
	return all
}
