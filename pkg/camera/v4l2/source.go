// Package v4l2 reads Linux's own video devices, USB cameras above all, without
// OpenCV or any other C library. It promises frames with the driver's timestamp
// and count, JPEGs as the camera made them, broken frames dropped and counted, and
// a Next that ends soon after its context or Close. It refuses nodes that are no
// camera, settings the camera does not have, and images in several planes. The
// agent opens it and lists devices with it; on other systems than Linux it
// refuses everything.
//
// A frame's timestamp is the kernel's, usually taken when the first or the last
// data of the frame arrived. The exposure began earlier, by the exposure time and
// what reading out the sensor takes: Config.SourceLatency is how much that may
// be, and is 0 unless it is set. For drivers without such a timestamp it is the
// time of fetching the frame, and Info.Latency is one frame interval.
package v4l2

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"framekeeper/pkg/camera"
)

// SourceExpected lists the names of a device.
const SourceExpected = "/dev/videoN, /dev/v4l/by-id/…, v4l2:N, v4l2:serial=…, v4l2:usb=PORT, v4l2:bus=… or v4l2:NAME"

// presenceInterval is how often a camera that gives nothing is asked whether it is
// still there: not every driver wakes who waits when its device is unplugged.
const presenceInterval = time.Second

// Source is one open camera. Next is called by one goroutine, Close by any.
type Source struct {
	camera.DefectCount
	info camera.Info
	wake *eventFD

	mu     sync.Mutex // guards all below; Next holds it, also while it waits
	dev    *device
	queue  *queue
	layout layout
	pix    pixFormat
	count  counter
	closed bool
}

var (
	_ camera.Source        = (*Source)(nil)
	_ camera.DefectCounter = (*Source)(nil)
	_ camera.ControlSetter = (*Source)(nil)
)

// Open opens the device the configuration names, asks for format, size, rate and
// controls, and starts it. What was granted is in Info.
func Open(ctx context.Context, cfg camera.Config) (camera.Source, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	name, err := camera.ParseSource(cfg.Source)
	if err != nil {
		return nil, err
	}
	if name.Scheme != camera.SchemeV4L2 {
		return nil, fmt.Errorf("%w: source %s: expected %s", camera.ErrUnsupported, camera.RedactSource(cfg.Source), SourceExpected)
	}
	path, err := local().resolve(name.Rest)
	if err != nil {
		return nil, err
	}
	s, err := open(path)
	if err != nil {
		return nil, err
	}
	if err := s.configure(cfg); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func open(path string) (*Source, error) {
	d, err := openNode(path)
	if err != nil {
		return nil, err
	}
	if err := d.checkCapture(); err != nil {
		return nil, errors.Join(err, d.close())
	}
	w, err := newEventFD()
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return &Source{dev: d, wake: w}, nil
}

// configure brings the camera from open to streaming. Controls come after the
// format, since some drivers reset them with it.
func (s *Source) configure(cfg camera.Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := choose(s.dev, cfg)
	if err != nil {
		return err
	}
	if s.layout, s.pix, err = s.dev.setMode(m); err != nil {
		return err
	}
	fps, err := s.dev.setRate(m.interval)
	if err != nil {
		return err
	}
	note, err := s.dev.applyControls(cfg.Controls)
	if err != nil {
		return err
	}
	if s.queue, err = newQueue(s.dev); err != nil {
		return err
	}
	s.info = camera.Info{
		Driver: "v4l2 " + s.dev.driver, Width: side(s.pix.width), Height: side(s.pix.height), FPS: fps,
		Format: s.layout.out, Note: note,
	}
	if !s.queue.monotonic {
		s.info.Latency = toInterval(cfg.FPS).duration()
		if fps > 0 {
			s.info.Latency = time.Duration(float64(time.Second) / fps)
		}
	}
	return s.queue.start()
}

// SetControls sets controls as Open does, between two frames.
func (s *Source) SetControls(values map[string]int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return camera.ErrClosed
	}
	_, err := s.dev.applyControls(values)
	return err
}

// Info is what was granted.
func (s *Source) Info() camera.Info { return s.info }

// Next waits for the next whole frame and copies it into f; the driver has its
// buffer back when Next returns.
func (s *Source) Next(ctx context.Context, f *camera.Frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	stop := context.AfterFunc(ctx, s.wake.signal)
	defer stop()
	for {
		switch err := ctx.Err(); {
		case s.closed || s.wake.ended():
			return camera.ErrClosed
		case err != nil:
			return err
		}
		b, ok, err := s.queue.dequeue()
		if err != nil {
			return err
		}
		if !ok {
			if err := s.wait(); err != nil {
				return err
			}
			continue
		}
		whole := s.fill(f, &b)
		if err := s.queue.enqueue(b.index); err != nil {
			return err
		}
		if whole {
			return nil
		}
	}
}

// wait returns when there may be a frame, or somebody wants Next to return. The
// caller holds mu.
func (s *Source) wait() error {
	fds := []unix.PollFd{{Fd: int32(s.dev.fd), Events: unix.POLLIN}, {Fd: int32(s.wake.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, int(presenceInterval/time.Millisecond))
	switch {
	case errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("%w: wait for %s: %w", camera.ErrNoData, s.dev.path, err)
	case n == 0:
		return s.present()
	case fds[1].Revents != 0:
		s.wake.reset()
		return nil
	case fds[0].Revents&unix.POLLIN != 0:
		return nil
	}
	// POLLERR: the driver has ended the stream. The next dequeue reports why; a
	// driver that does not would have us ask for ever.
	if _, ok, err := s.queue.dequeue(); err != nil {
		return err
	} else if ok {
		return fmt.Errorf("%w: %s reports an error and a frame at once", camera.ErrNoData, s.dev.path)
	}
	return fmt.Errorf("%w: %s reports an error to poll", camera.ErrNoData, s.dev.path)
}

// present asks a silent camera whether it is still there.
func (s *Source) present() error {
	var c capability
	if err := ioctl(s.dev.fd, vidiocQueryCap, unsafe.Pointer(&c)); err != nil {
		return s.queue.streamError("query", err)
	}
	return nil
}

// fill copies a buffer into f, unless it is broken: then it is counted.
func (s *Source) fill(f *camera.Frame, b *buffer) bool {
	f.Seq = s.count.next(b.sequence)
	f.Captured = s.captured(b)
	data := s.queue.bytes(b)
	switch {
	case b.flags&bufFlagError != 0:
		s.AddDefect("flagged as broken by the driver")
		return false
	case len(data) == 0:
		s.AddDefect("empty")
		return false
	}
	f.Format, f.Width, f.Height = s.layout.out, s.info.Width, s.info.Height
	if s.layout.out == camera.MJPEG {
		j, err := camera.InspectJPEG(data)
		if err != nil {
			s.AddDefect(err.Error())
			return false
		}
		f.Width, f.Height = j.Width, j.Height
		f.Data = j.AppendTo(f.Data[:0])
		return true
	}
	stride := side(s.pix.bytesPerLine)
	if need := s.layout.need(f.Width, f.Height, stride); len(data) < need {
		s.AddDefect(fmt.Sprintf("cut short: %d of %d bytes", len(data), need))
		return false
	}
	f.Data = s.layout.copyRows(f.Data, data, f.Width, f.Height, stride)
	return true
}

// captured is the driver's time of the frame, or the present one if the driver
// has another clock or none.
func (s *Source) captured(b *buffer) time.Time {
	now := time.Now()
	if b.flags&bufFlagTimestampMask != bufFlagMonotonic {
		return now
	}
	var mono unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono); err != nil {
		return now
	}
	return capturedAt(now, time.Duration(mono.Nano()), time.Duration(b.timestamp.Nano()))
}

// Close makes a waiting Next return, and gives the camera back. It may be called
// more than once.
func (s *Source) Close() error {
	s.wake.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var err error
	if s.queue != nil {
		err = s.queue.close()
	}
	return errors.Join(err, s.dev.close(), s.wake.close())
}
