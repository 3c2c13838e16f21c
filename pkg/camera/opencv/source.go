//go:build !noopencv

// Package opencv reads cameras, video files, RTSP streams and GStreamer
// pipelines through OpenCV, and encodes JPEGs with it. It is the only package
// that imports gocv; no gocv.Mat leaves it. It promises BGR24 frames in memory
// of Go's and one clear error for what cannot be opened. It refuses to promise
// that a read returns: OpenCV's calls cannot be cancelled, and whoever uses a
// Source must watch it, as camera.Grabber does. The agent opens it.
package opencv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"gocv.io/x/gocv"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/camera/rtsp"
)

// Source is one opened capture. Next and Close each belong to one goroutine;
// Close waits for a read that is under way, because freeing the capture under
// it would crash the process.
type Source struct {
	shown       string
	info        camera.Info
	input       input
	ticker      *camera.Ticker // of a file; nil for what has a rate of its own
	readTimeout time.Duration  // of a network camera; 0 for others
	relay       *rtsp.Relay    // to a network camera; nil for others
	closing     sync.Once
	closed      chan struct{}

	mu       sync.Mutex // guards all below, and is held during every call into OpenCV
	capture  *gocv.VideoCapture
	mat      gocv.Mat // what a read fills; reused
	bgr      gocv.Mat // what mat is converted into if it is not BGR24
	pending  bool     // mat holds a frame read while opening, not yet handed out
	seq      uint64
	released bool
}

// input is what a source opens, and opens again when a file starts over.
type input struct {
	target any // a device number, or what the backend calls a file name
	api    gocv.VideoCaptureAPI
	loops  bool // starts over at its end
	finite bool // has an end
}

var (
	_ camera.Source        = (*Source)(nil)
	_ camera.ControlSetter = (*Source)(nil)
)

// Open opens the source the configuration names: opencv:N, file:PATH,
// rtsp://… or gst:PIPELINE. ctx is checked between calls into OpenCV, which
// cannot be cancelled. Configured controls are set for opencv: only.
func Open(ctx context.Context, cfg camera.Config) (camera.Source, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	name, err := camera.ParseSource(cfg.Source)
	if err != nil {
		return nil, err
	}
	s := &Source{shown: camera.RedactSource(cfg.Source), closed: make(chan struct{})}
	switch name.Scheme {
	case camera.SchemeOpenCV:
		err = s.openDevice(name.Rest, cfg)
	case camera.SchemeFile:
		err = s.openFile(name.Rest, cfg)
	case camera.SchemeRTSP:
		err = s.openRTSP(ctx, name.Rest, cfg)
	case camera.SchemeGst:
		err = s.openPipeline(name.Rest)
	default:
		err = fmt.Errorf("%w: %s is not a source of OpenCV", camera.ErrUnsupported, s.shown)
	}
	if err != nil {
		return nil, err
	}
	if err := s.probe(cfg); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// openCapture opens s.input. refused is the error if OpenCV refuses.
func (s *Source) openCapture(refused error) error {
	c, err := gocv.OpenVideoCaptureWithAPI(s.input.target, s.input.api)
	if err != nil {
		if c != nil {
			_ = c.Close() // gocv hands out a capture to free along with its error
		}
		return refused // gocv's error repeats the target, which may hold a password
	}
	if err := s.fits(c.Get(gocv.VideoCaptureFrameWidth), c.Get(gocv.VideoCaptureFrameHeight)); err != nil {
		_ = c.Close() // nothing was written
		return err
	}
	s.capture = c
	return nil
}

// fits refuses images of too many pixels.
func (s *Source) fits(w, h float64) error {
	if bytes := w * h * 3; bytes > maxImage {
		return fmt.Errorf("%w: %s has images %w: %.0fx%.0f, %.0f MiB each as pixels; at most %d MiB are decoded", camera.ErrNoData, s.shown, errTooLarge, w, h, bytes/(1<<20), maxImage>>20)
	}
	return nil
}

var errTooLarge = errors.New("beyond the limit")

// maxImage bounds an image's pixels: FFmpeg and OpenCV take a multiple of it.
const maxImage = 192 << 20

// probe reads the first frame of sources that cost nothing to wait for, since
// many captures open well and then deliver nothing, and fills Info.
func (s *Source) probe(cfg camera.Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mat, s.bgr = gocv.NewMat(), gocv.NewMat()
	if s.input.finite {
		if !s.capture.Read(&s.mat) || s.mat.Empty() {
			return fmt.Errorf("%w: %s holds no image", camera.ErrNoData, s.shown)
		}
		s.pending = true
	}
	fps := s.capture.Get(gocv.VideoCaptureFPS)
	if !(fps >= 0.1 && fps <= 1000) || math.IsInf(fps, 0) {
		fps = cfg.FPS // files without a rate, and backends that have none
	}
	s.info = camera.Info{
		Driver: "opencv " + s.input.api.String(),
		Width:  int(s.capture.Get(gocv.VideoCaptureFrameWidth)),
		Height: int(s.capture.Get(gocv.VideoCaptureFrameHeight)),
		FPS:    fps,
		Format: camera.BGR24,
	}
	if s.pending {
		s.info.Width, s.info.Height = s.mat.Cols(), s.mat.Rows()
	}
	if fps > 0 {
		intervals := 1
		if s.readTimeout > 0 {
			intervals += heldBack(s.capture)
		}
		s.info.Latency = time.Duration(float64(intervals) * float64(time.Second) / fps)
	}
	if s.input.finite {
		s.ticker = camera.NewTicker(fps)
	}
	return nil
}

// Next reads the next frame. A file is read at its own rate. Captured is taken
// after the read for cameras, whose read waits for the exposure, and before it
// for files, whose exposure is the moment the frame is due.
func (s *Source) Next(ctx context.Context, f *camera.Frame) error {
	var due time.Time
	if s.ticker != nil {
		if _, err := s.ticker.Wait(ctx, s.closed); err != nil {
			return err
		}
		due = time.Now()
	} else if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.capture == nil {
		return camera.ErrClosed
	}
	if err := s.read(); err != nil {
		return err
	}
	f.Captured = time.Now()
	if !due.IsZero() {
		f.Captured = due
	}
	s.seq++
	f.Seq = s.seq
	return s.copyOut(f)
}

// read fills mat. The caller holds mu.
func (s *Source) read() error {
	if s.pending {
		s.pending = false
		return nil
	}
	began := time.Now()
	ok := s.capture.Read(&s.mat) && !s.mat.Empty()
	if waited := time.Since(began); s.readTimeout > 0 && waited >= s.readTimeout {
		// FFmpeg gave up, and what it still hands out was held back in its decoder:
		// a frame from before the silence.
		return fmt.Errorf("%w: nothing came for %v", camera.ErrNoData, waited.Round(time.Millisecond))
	}
	if ok {
		return nil
	}
	switch {
	case !s.input.finite:
		return fmt.Errorf("%w: OpenCV's read failed", camera.ErrNoData)
	case !s.input.loops:
		return io.EOF
	}
	// Opened again instead of sought back to 0. Seeking saves about 10 ms, but then
	// .ts, .h264 and .mjpeg files give nothing more, and an .mpg starts elsewhere.
	err := s.capture.Close()
	s.capture = nil
	if err != nil {
		return fmt.Errorf("close capture: %w", err)
	}
	if err := s.openCapture(fmt.Errorf("%w: %s cannot be opened again", camera.ErrNoData, s.shown)); err != nil {
		return err
	}
	if !s.capture.Read(&s.mat) || s.mat.Empty() {
		return fmt.Errorf("%w: %s holds no image any more", camera.ErrNoData, s.shown)
	}
	return nil
}

// copyOut copies the image into f. The caller holds mu.
func (s *Source) copyOut(f *camera.Frame) error {
	m := &s.mat
	switch m.Type() {
	case gocv.MatTypeCV8UC3:
	case gocv.MatTypeCV8UC1:
		gocv.CvtColor(s.mat, &s.bgr, gocv.ColorGrayToBGR)
		m = &s.bgr
	case gocv.MatTypeCV8UC4:
		gocv.CvtColor(s.mat, &s.bgr, gocv.ColorBGRAToBGR)
		m = &s.bgr
	default:
		return fmt.Errorf("%w: OpenCV delivers pixels of type %v, expected 8 bit grey, BGR or BGRA", camera.ErrNoData, m.Type())
	}
	pixels, err := m.DataPtrUint8()
	if err != nil {
		return fmt.Errorf("read pixels: %w", err)
	}
	if err := s.fits(float64(m.Cols()), float64(m.Rows())); err != nil { // that it began with others means nothing
		return err
	}
	f.Format, f.Width, f.Height = camera.BGR24, m.Cols(), m.Rows()
	if want := f.Width * f.Height * 3; len(pixels) != want {
		return fmt.Errorf("%w: OpenCV's image of %dx%d has %d bytes, expected %d",
			camera.ErrNoData, f.Width, f.Height, len(pixels), want)
	}
	f.Data = append(f.Data[:0], pixels...)
	return nil
}

// Info is what was granted; of a file, what it holds.
func (s *Source) Info() camera.Info { return s.info }

// Close frees the capture, after a read that is under way has returned. It may
// be called more than once.
func (s *Source) Close() error {
	s.closing.Do(func() { close(s.closed) }) // a paced wait ends at once
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.free()
}

// free gives back what C++ holds. The caller holds mu.
func (s *Source) free() error {
	if s.released {
		return nil
	}
	s.released = true
	var err error
	if s.capture != nil {
		err = s.capture.Close()
		s.capture = nil
	}
	if s.relay != nil {
		err = errors.Join(err, s.relay.Close())
	}
	return errors.Join(err, s.mat.Close(), s.bgr.Close())
}
