package camera

import (
	"sync"
	"sync/atomic"
	"time"
)

// PixelFormat is the format of a Frame's bytes.
type PixelFormat uint8

// The pixel formats sources deliver.
const (
	BGR24 PixelFormat = iota // rows of 3 bytes a pixel, blue first, no padding
	MJPEG                    // one complete JPEG file
	YUYV                     // rows of 2 bytes a pixel (4:2:2 packed), no padding
)

func (f PixelFormat) String() string {
	switch f {
	case BGR24:
		return "bgr24"
	case MJPEG:
		return "mjpeg"
	case YUYV:
		return "yuyv"
	default:
		return "unknown"
	}
}

// Frame is one exposure as a source delivers it. It belongs to whoever holds a
// reference; the bytes may be read, never written, until that holder's Release.
// A frame made by hand starts without a reference: Retain it first.
type Frame struct {
	Data     []byte
	Format   PixelFormat
	Width    int       // pixels
	Height   int       // pixels
	Captured time.Time // with a monotonic reading; see Info.Latency
	Seq      uint64    // the driver's counter; gaps are frames skipped by the driver

	refs atomic.Int32
	free func(*Frame)
}

// Retain adds a reference and returns the frame.
func (f *Frame) Retain() *Frame {
	f.refs.Add(1)
	return f
}

// Release gives one reference back; after the last one the buffer is reused.
func (f *Frame) Release() {
	switch n := f.refs.Add(-1); {
	case n == 0 && f.free != nil:
		f.free(f)
	case n < 0:
		panic("camera: Frame released more often than retained")
	}
}

// clear makes the frame ready to be filled again. Its buffer stays.
func (f *Frame) clear() {
	f.Data = f.Data[:0]
	f.Format, f.Width, f.Height = BGR24, 0, 0
	f.Captured, f.Seq = time.Time{}, 0
}

// spareFrames bounds the frames a pool has for reuse. A Grabber needs three (one
// being filled, the newest, one with a consumer); a burst of slow consumers
// may hold more for a while, and that memory is given back afterwards.
const spareFrames = 4

// pool hands out frames whose buffers come back when the last holder releases
// them, so that steady capture allocates nothing.
type pool struct {
	mu    sync.Mutex // guards spare
	spare []*Frame
}

// get returns an empty frame with one reference.
func (p *pool) get() *Frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.spare)
	if n == 0 {
		return (&Frame{free: p.put}).Retain()
	}
	f := p.spare[n-1]
	p.spare[n-1] = nil
	p.spare = p.spare[:n-1]
	return f.Retain()
}

func (p *pool) put(f *Frame) {
	f.clear()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.spare) < spareFrames {
		p.spare = append(p.spare, f)
	}
}
