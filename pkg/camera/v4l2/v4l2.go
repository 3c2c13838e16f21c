// Package v4l2 reads Linux's own video devices, USB cameras above all, without
// OpenCV or any other C library. It promises frames with the driver's timestamp
// and count, JPEGs as the camera made them, broken frames dropped and counted, and
// a Next that ends soon after its context or Close. It refuses nodes that are no
// camera, settings the camera does not have, and pictures in several planes. The
// agent opens it and lists devices with it; on other systems than Linux it
// refuses everything.
//
// A frame's timestamp is the kernel's, usually taken when the first or the last
// data of the frame arrived. The exposure began earlier, by the exposure time and
// what reading out the sensor takes: Config.SourceLatency says how much that may
// be, and is 0 unless it is set. For drivers without such a timestamp it is the
// time of fetching the frame, and Info.Latency is one frame interval.
package v4l2

// SourceExpected says how a device may be named.
const SourceExpected = "/dev/videoN, /dev/v4l/by-id/…, v4l2:N, v4l2:serial=…, v4l2:usb=PORT, v4l2:bus=… or v4l2:NAME"

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
