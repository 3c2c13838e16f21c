// Package camera has everything between a camera and an encoded image: the
// Source interface, the Grabber that drains a source, and the Encoder. It promises
// that a frame handed out for a request was exposed after the request arrived,
// and that a source that hangs is noticed. Agents use it; it does not use Redis.
//
// A new camera source is a package below this one whose Open is an Opener and
// whose Source obeys the interface's comments (testsrc is the shortest example).
// Add its Scheme to this package, and its Open to the table in internal/agent/sources.go.
//
// Why each watcher is watched: the Grabber watches the goroutine that calls the
// source, and notes when it will act again, so that the agent's heartbeat can
// tell whether it still does; the controller watches the heartbeat, and systemd
// the controller. Each shares less with what it watches. A C call that does not
// return cannot be ended, so it ends the process. JPEGs from cameras are walked,
// not decoded: size, whole or cut short, Huffman tables missing.
package camera

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Info is what a source really delivers, known once it is open.
type Info struct {
	Driver  string  // for people: "v4l2 uvcvideo", "opencv FFMPEG", …
	Width   int     // pixels
	Height  int     // pixels
	FPS     float64 // frames a second; 0 if the source cannot measure it
	Format  PixelFormat
	Latency time.Duration // how old a frame may be at its Captured instant, see Config.SourceLatency
	Note    string        // for people: what was set besides or otherwise than asked; "" if nothing
}

// Source is one opened camera. Next and Close are called by one goroutine
// each; Close may be called while Next is waiting and makes it return.
type Source interface {
	// Next waits for the next frame and fills f, reusing f.Data's capacity: Data,
	// Format, Width and Height as Frame.Check demands, Captured, and Seq, which
	// rises by one a frame. Captured is when the bytes arrived at the latest; left
	// zero it becomes the instant of Next's return.
	//
	// It returns io.EOF when a finite source has ended (a lost connection is an
	// ErrNoData, never an io.EOF), ErrClosed after Close, and ctx.Err() soon after
	// ctx has ended, unless a C call holds it. Its errors wrap one of the kinds
	// below and never show credentials.
	Next(ctx context.Context, f *Frame) error
	// Info may be called between Open and Close.
	Info() Info
	// Close frees the camera for others. It may be called more than once.
	Close() error
}

// Opener opens the source a configuration names. It ends soon after ctx, which
// does not bound the life of the Source. Its errors are as those of Next.
type Opener func(ctx context.Context, c Config) (Source, error)

// Kinds of failure, by what an operator can do about them. Sources wrap them.
var (
	ErrNoDevice    = errors.New("no such camera")                // plug it in, correct the name
	ErrBusy        = errors.New("camera is in use")              // end the other program
	ErrRefused     = errors.New("camera refuses access")         // correct user, password or certificate; tried again by minutes
	ErrNoData      = errors.New("camera gives no frames")        // cable, power, light
	ErrUnsupported = errors.New("not built into this cam-agent") // build or install something
)

// ErrClosed is what a source's Next returns after Close.
var ErrClosed = errors.New("source is closed")

// Symptom is what a source had received instead of a frame when it was stopped,
// for people and without credentials. Its Next and its Opener may wrap one together
// with ctx.Err(): the watchdog can see only that no frame came.
type Symptom string

func (s Symptom) Error() string { return string(s) }

// WithSymptom is trouble with the symptom that end wraps, if it wraps one.
func WithSymptom(trouble, end error) error {
	var symptom Symptom
	if !errors.As(end, &symptom) {
		return trouble
	}
	return fmt.Errorf("%w: %w", trouble, symptom)
}
