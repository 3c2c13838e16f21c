// Package camera owns everything between a camera and an encoded image: the
// Source interface, the Grabber that drains it, and the Encoder. It promises
// that a frame handed out for a request was exposed after the request arrived,
// and that a source that hangs is noticed. It knows nothing of Redis.
package camera

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// PixelFormat says what a Frame's bytes are.
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
	Width    int
	Height   int
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

// clear makes the frame ready to be filled again, keeping the buffer.
func (f *Frame) clear() {
	f.Data = f.Data[:0]
	f.Format, f.Width, f.Height = BGR24, 0, 0
	f.Captured, f.Seq = time.Time{}, 0
}

// Info is what a source really delivers, known once it is open.
type Info struct {
	Driver  string // for people: "v4l2 uvcvideo", "opencv FFMPEG", …
	Width   int
	Height  int
	FPS     float64 // 0 if the source cannot say
	Format  PixelFormat
	Latency time.Duration // how old a frame may be at its Captured instant, see Config.SourceLatency
	Note    string        // for people: what was set besides or otherwise than asked; "" if nothing
}

// Source is one opened camera. Next and Close are called by one goroutine
// each; Close may be called while Next is waiting and makes it return.
type Source interface {
	// Next waits for the next frame and fills f, reusing f.Data's capacity. It
	// returns io.EOF when a finite source has ended (a lost connection is an
	// ErrNoData, never an io.EOF), and ctx.Err() soon after ctx has ended, unless
	// a C call holds it. Its errors never show credentials.
	Next(ctx context.Context, f *Frame) error
	// Info may be called between Open and Close.
	Info() Info
	Close() error
}

// Opener opens the source a configuration names.
type Opener func(ctx context.Context, c Config) (Source, error)

// Kinds of failure, by what an operator can do about them. Sources wrap them.
var (
	ErrNoDevice    = errors.New("no such camera")                // plug it in, correct the name
	ErrBusy        = errors.New("camera is in use")              // end the other program
	ErrNoData      = errors.New("camera gives no frames")        // cable, power, light
	ErrUnsupported = errors.New("not built into this cam-agent") // build or install something
)
