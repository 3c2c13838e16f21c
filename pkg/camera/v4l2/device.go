package v4l2

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"framekeeper/pkg/camera"
)

// videoMajor is the device number of every V4L2 node; the kernel fixed it.
const videoMajor = 81

// device is an open node. It may be used by one goroutine at a time.
type device struct {
	fd     int
	path   string
	driver string
	card   string
	bus    string
	caps   uint32
}

// openNode opens a node of any kind of V4L2 device.
func openNode(path string) (*device, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil, openError(path, err)
	}
	// Not even opened, since that alone sets off a watchdog or rewinds a tape.
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || unix.Major(uint64(st.Rdev)) != videoMajor { //nolint:unconvert // it has 32 bits on some machines
		return nil, fmt.Errorf("%w: %s is no V4L2 device; cam-agent --list-devices shows them", camera.ErrNoDevice, path)
	}
	fd, err := openRetrying(path)
	if err != nil {
		return nil, openError(path, err)
	}
	d := &device{fd: fd, path: path}
	if err := d.identify(); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func openRetrying(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

func openError(path string, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("%w: there is no %s; cam-agent --list-devices shows what is plugged in", camera.ErrNoDevice, path)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: no permission for %s; add this user to the group video (sudo usermod -aG video USER) and log in again",
			camera.ErrNoDevice, path)
	case errors.Is(err, unix.EBUSY):
		return busy(path)
	}
	return fmt.Errorf("%w: %s: %w", camera.ErrNoDevice, path, err)
}

func busy(path string) error {
	return fmt.Errorf("%w: another program has %s; fuser -v %s names it", camera.ErrBusy, path, path)
}

func (d *device) close() error {
	if err := unix.Close(d.fd); err != nil {
		return fmt.Errorf("close %s: %w", d.path, err)
	}
	return nil
}

// identify asks what the node is.
func (d *device) identify() error {
	var c capability
	if err := ioctl(d.fd, vidiocQueryCap, unsafe.Pointer(&c)); err != nil {
		if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("%w: %s is no V4L2 device", camera.ErrNoDevice, d.path)
		}
		return d.fail("query", err)
	}
	d.driver, d.card, d.bus = cString(c.driver[:]), cString(c.card[:]), cString(c.busInfo[:])
	d.caps = c.allCaps
	if c.allCaps&capDeviceCaps != 0 {
		d.caps = c.deviceCaps
	}
	return nil
}

// checkCapture refuses nodes that give no images through mapped buffers.
func (d *device) checkCapture() error {
	what := ""
	switch c := d.caps; {
	case c&capMediaControl != 0:
		return fmt.Errorf("%w: %s (%s) gives raw sensor data through the media controller; use exec:rpicam-vid … or gst:libcamerasrc …",
			camera.ErrNoDevice, d.path, d.driver)
	case c&capCapture != 0 && c&capStreaming != 0:
		return nil
	case c&capCapture != 0:
		what = "only supports reading, not streaming"
	case c&(capM2M|capM2MMPlane) != 0:
		what = "is a converter, not a camera"
	case c&(capMetaCapture|capMetaOutput) != 0:
		what = "gives metadata, not images"
	case c&(capOutput|capOutputMPlane) != 0:
		what = "is an output, not a camera"
	case c&capCaptureMPlane != 0:
		return fmt.Errorf("%w: %s (%s) gives images in several planes only; use an exec: or gst: source", camera.ErrNoDevice, d.path, d.driver)
	default:
		what = "captures no images"
	}
	return fmt.Errorf("%w: %s (%s) %s; cam-agent --list-devices shows the camera's other node", camera.ErrNoDevice, d.path, d.card, what)
}

// fail gives a driver's error its kind. doing is what was asked of it.
func (d *device) fail(doing string, err error) error {
	switch {
	case errors.Is(err, unix.EBUSY):
		return busy(d.path)
	case gone(err):
		return fmt.Errorf("%w: %s: %s is gone: %w", camera.ErrNoDevice, doing, d.path, err)
	}
	return fmt.Errorf("%w: %s %s: %w", camera.ErrNoData, doing, d.path, err)
}

// maxEntries bounds every enumeration, should a driver never come to an end.
const maxEntries = 512

// formatName is a pixel format on offer.
type formatName struct {
	code        fourCC
	description string
}

func (d *device) formatNames() []formatName {
	var all []formatName
	for i := range uint32(maxEntries) {
		e := formatDesc{index: i, kind: bufTypeCapture}
		if ioctl(d.fd, vidiocEnumFmt, unsafe.Pointer(&e)) != nil {
			break
		}
		all = append(all, formatName{e.pixelFormat, cString(e.description[:])})
	}
	return all
}

var _ catalog = (*device)(nil)

func (d *device) formats() []fourCC {
	names := d.formatNames()
	all := make([]fourCC, len(names))
	for i, n := range names {
		all[i] = n.code
	}
	return all
}

func (d *device) sizes(code fourCC) []sizeRange {
	var all []sizeRange
	for i := range uint32(maxEntries) {
		e := frameSizeEnum{index: i, pixelFormat: code}
		if ioctl(d.fd, vidiocEnumFrameSizes, unsafe.Pointer(&e)) != nil {
			break
		}
		s := e.sizes
		if e.kind == rangeDiscrete {
			w, h := side(s.minWidth), side(s.maxWidth) // the union's first two fields
			all = append(all, sizeRange{span{w, w, 0}, span{h, h, 0}})
			continue
		}
		all = append(all, sizeRange{
			span{side(s.minWidth), side(s.maxWidth), side(s.stepWidth)},
			span{side(s.minHeight), side(s.maxHeight), side(s.stepHeight)},
		})
		break // a range is the only entry
	}
	return all
}

// side bounds a driver's number so that it fits an int on every machine.
func side(v uint32) int { return int(min(v, 1<<20)) }

func (d *device) rates(code fourCC, width, height int) []rateRange {
	var all []rateRange
	for i := range uint32(maxEntries) {
		e := frameIntervalEnum{index: i, pixelFormat: code, width: uint32(width), height: uint32(height)}
		if ioctl(d.fd, vidiocEnumFrameIntervals, unsafe.Pointer(&e)) != nil {
			break
		}
		if e.kind == rangeDiscrete {
			all = append(all, rateRange{e.shortest, e.shortest})
			continue
		}
		all = append(all, rateRange{e.shortest, e.longest})
		break
	}
	return all
}

// setMode asks for a mode and returns what was granted.
func (d *device) setMode(m mode) (layout, pixFormat, error) {
	f := format{kind: bufTypeCapture}
	f.pix = pixFormat{width: uint32(m.width), height: uint32(m.height), pixelFormat: m.code, field: fieldNone}
	if err := ioctl(d.fd, vidiocSetFmt, unsafe.Pointer(&f)); err != nil {
		return layout{}, pixFormat{}, d.fail(fmt.Sprintf("set format %s %dx%d of", m.code, m.width, m.height), err)
	}
	l, ok := layoutOf(f.pix.pixelFormat)
	if !ok {
		return layout{}, pixFormat{}, settingErrorf("%s was asked for %s and insists on %s", d.path, m.code, f.pix.pixelFormat)
	}
	if f.pix.field != fieldNone && f.pix.field != fieldInterlace {
		return layout{}, pixFormat{}, settingErrorf("%s gives single fields (kind %d) of an interlaced image, expected whole ones", d.path, f.pix.field)
	}
	if l.bytes > 0 && f.pix.bytesPerLine == 0 {
		f.pix.bytesPerLine = uint32(l.rowBytes(side(f.pix.width)))
	}
	if err := l.checkImage(side(f.pix.width), side(f.pix.height), side(f.pix.bytesPerLine)); err != nil {
		return layout{}, pixFormat{}, fmt.Errorf("%w: %s gives %w", camera.ErrNoData, d.path, err)
	}
	return l, f.pix, nil
}

// setRate asks for an interval and returns the rate that was granted, 0 if the
// driver does not report it.
func (d *device) setRate(interval fraction) (float64, error) {
	p := streamParm{kind: bufTypeCapture}
	if ioctl(d.fd, vidiocGetParm, unsafe.Pointer(&p)) != nil {
		return 0, nil // not every driver has rates
	}
	if p.capture.capability&capTimePerFrame != 0 {
		p.capture.timePerFrame = interval
		if err := ioctl(d.fd, vidiocSetParm, unsafe.Pointer(&p)); err != nil {
			return 0, d.fail(fmt.Sprintf("set %.4g fps of", interval.fps()), err)
		}
	}
	fps := p.capture.timePerFrame.fps()
	if !(fps > 0 && fps < 1e5) {
		fps = 0
	}
	return fps, nil
}
