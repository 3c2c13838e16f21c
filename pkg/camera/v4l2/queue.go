package v4l2

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"framekeeper/pkg/camera"
)

// wantBuffers is how many frames the driver may fill while nobody fetches one.
// Fewer make it skip frames when the process is held up; more only hold memory.
const wantBuffers = 4

// queue is the driver's buffers, mapped into this process.
type queue struct {
	dev       *device
	maps      [][]byte
	streaming bool
	monotonic bool // timestamps are of CLOCK_MONOTONIC
}

// newQueue maps the driver's buffers and gives them all to it. What was done until
// an error is undone by close.
func newQueue(d *device) (*queue, error) {
	q := &queue{dev: d}
	r := requestBuffers{count: wantBuffers, kind: bufTypeCapture, memory: memoryMmap}
	if err := ioctl(d.fd, vidiocRequestBuffers, unsafe.Pointer(&r)); err != nil {
		return q, d.fail("request buffers of", err)
	}
	if r.count < 2 {
		return q, fmt.Errorf("%w: %s gives %d buffers, expected 2 or more", camera.ErrNoData, d.path, r.count)
	}
	for i := range min(r.count, 32) {
		if err := q.add(i); err != nil {
			return q, err
		}
	}
	return q, nil
}

func (q *queue) add(index uint32) error {
	b := buffer{index: index, kind: bufTypeCapture, memory: memoryMmap}
	if err := ioctl(q.dev.fd, vidiocQueryBuf, unsafe.Pointer(&b)); err != nil {
		return q.dev.fail("query a buffer of", err)
	}
	q.monotonic = b.flags&bufFlagTimestampMask == bufFlagMonotonic
	m, err := unix.Mmap(q.dev.fd, int64(b.offset), int(b.length), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return q.dev.fail("map a buffer of", err)
	}
	q.maps = append(q.maps, m)
	return q.enqueue(index)
}

// enqueue gives a buffer to the driver.
func (q *queue) enqueue(index uint32) error {
	b := buffer{index: index, kind: bufTypeCapture, memory: memoryMmap}
	if err := ioctl(q.dev.fd, vidiocQueueBuf, unsafe.Pointer(&b)); err != nil {
		return q.streamError("queue a buffer of", err)
	}
	return nil
}

// dequeue takes a filled buffer from the driver; ok is false if there is none yet.
func (q *queue) dequeue() (b buffer, ok bool, err error) {
	b = buffer{kind: bufTypeCapture, memory: memoryMmap}
	err = ioctl(q.dev.fd, vidiocDequeueBuf, unsafe.Pointer(&b))
	switch {
	case errors.Is(err, unix.EAGAIN):
		return b, false, nil
	case err != nil:
		return b, false, q.streamError("fetch a frame from", err)
	case b.index >= uint32(len(q.maps)):
		return b, false, fmt.Errorf("%w: %s gives buffer %d of %d", camera.ErrNoData, q.dev.path, b.index, len(q.maps))
	}
	return b, true, nil
}

// bytes are what the driver wrote, good until the buffer is put back.
func (q *queue) bytes(b *buffer) []byte {
	m := q.maps[b.index]
	return m[:min(int64(b.bytesUsed), int64(len(m)))]
}

func (q *queue) start() error {
	kind := uint32(bufTypeCapture)
	err := ioctl(q.dev.fd, vidiocStreamOn, unsafe.Pointer(&kind))
	switch {
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("%w: the USB bus has no room left for %s beside its other devices (%w); "+
			"ask for mjpeg, a smaller size or rate, or use another port", camera.ErrNoData, q.dev.path, err)
	case err != nil:
		return q.streamError("start", err)
	}
	q.streaming = true
	return nil
}

// streamError is an error of a camera that was open already.
func (q *queue) streamError(doing string, err error) error {
	switch {
	case gone(err):
		return fmt.Errorf("%w: %s was unplugged or its driver ended: %w", camera.ErrNoData, q.dev.path, err)
	case errors.Is(err, unix.EIO):
		return fmt.Errorf("%w: %s %s: the driver reports a fatal error of the transfer: %w", camera.ErrNoData, doing, q.dev.path, err)
	}
	return q.dev.fail(doing, err)
}

// close stops the stream and unmaps the buffers. Nobody may hold bytes by then.
func (q *queue) close() error {
	var errs []error
	if q.streaming {
		kind := uint32(bufTypeCapture)
		if err := ioctl(q.dev.fd, vidiocStreamOff, unsafe.Pointer(&kind)); err != nil && !gone(err) {
			errs = append(errs, fmt.Errorf("stop %s: %w", q.dev.path, err))
		}
	}
	q.streaming = false
	for _, m := range q.maps {
		if err := unix.Munmap(m); err != nil {
			errs = append(errs, fmt.Errorf("unmap a buffer of %s: %w", q.dev.path, err))
		}
	}
	q.maps = nil
	return errors.Join(errs...)
}

// capturedAt maps a frame's stamp on the kernel's monotonic clock to a time.Time
// with a monotonic reading. now and mono are the same instant on both clocks; now
// is read first, so that what lies between makes a frame older and never younger.
// A stamp from the future, which cameras with a clock of their own produce, is now.
func capturedAt(now time.Time, mono, stamp time.Duration) time.Time {
	return now.Add(-max(mono-stamp, 0))
}

// counter makes an endless count of the driver's 32 bits.
type counter struct {
	last  uint32
	total uint64
	began bool
}

// next is the number of the frame with this sequence. A driver that does not
// count, or starts again, is counted on from where it was.
func (c *counter) next(sequence uint32) uint64 {
	step := int32(sequence - c.last) //nolint:gosec // two's complement is what separates forward from back
	switch {
	case !c.began:
		c.total, c.began = uint64(sequence), true
	case step > 0:
		c.total += uint64(step)
	default:
		c.total++
	}
	c.last = sequence
	return c.total
}
