package camera

import (
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"sync/atomic"

	"framekeeper/pkg/frame"
)

// JPEGFunc appends the JPEG of a frame to dst and returns the extended slice.
// The frame is BGR24 or YUYV and has passed Check; quality is 1 to 100. It is
// called by one goroutine at a time.
type JPEGFunc func(dst []byte, f *Frame, quality int) ([]byte, error)

// Image is an encoded frame.
type Image struct {
	Data        []byte
	Encoding    frame.Encoding
	PixelFormat string // raw only: frame.PixelBGR24
	Width       int
	Height      int
}

// Encoder turns frames into the configured encoding. It has scratch buffers
// and is for one goroutine; only SetQuality may be called from any.
type Encoder struct {
	encoding frame.Encoding
	decoder  Decoder
	quality  atomic.Int32
	jpeg     JPEGFunc // nil: the standard library

	bgr     []byte       // a frame converted for png
	rgba    []byte       // what png reads
	ycbcr   *image.YCbCr // what image/jpeg reads
	png     png.Encoder
	pngPool pngBuffer
}

// NewEncoder makes an Encoder for the camera's encoding and quality. With a
// nil JPEGFunc the standard library makes the JPEGs.
func NewEncoder(cfg Config, fn JPEGFunc) *Encoder {
	e := &Encoder{encoding: cfg.Encoding, decoder: NewDecoder(cfg), jpeg: fn}
	if fn == nil {
		e.jpeg = e.stdJPEG
	}
	e.SetQuality(cfg.Quality)
	e.png = png.Encoder{CompressionLevel: png.BestSpeed, BufferPool: &e.pngPool}
	return e
}

// SetQuality changes the JPEG quality from the next frame on; it is brought
// into 1 to 100. JPEGs that pass through from the camera have their own.
func (e *Encoder) SetQuality(q int) { e.quality.Store(int32(min(max(q, 1), 100))) }

// Quality is the present JPEG quality.
func (e *Encoder) Quality() int { return int(e.quality.Load()) }

// Encode encodes the frame, writing over dst from its start and growing it as
// needed. Data is then either dst's array, which may serve as dst again, or,
// when nothing had to be done (JPEG wanted and the camera gives JPEG, raw
// wanted and it gives BGR24), the frame's own bytes: not to be written to, and
// good only until the frame is released. Whoever reuses Data as dst must
// therefore hold on to its own dst instead. Decoding ends soon after ctx.
func (e *Encoder) Encode(ctx context.Context, dst []byte, f *Frame) (Image, error) {
	if err := f.Check(); err != nil {
		return Image{}, fmt.Errorf("encode frame: %w", err)
	}
	img := Image{Encoding: e.encoding, Width: f.Width, Height: f.Height}
	var err error
	switch e.encoding {
	case frame.JPEG:
		img.Data, err = e.encodeJPEG(dst[:0], f)
	case frame.PNG:
		img.Data, err = e.encodePNG(ctx, dst[:0], f)
	case frame.Raw:
		img.PixelFormat = frame.PixelBGR24
		img.Data, err = e.RawBGR(ctx, dst, f)
	default:
		err = fmt.Errorf("unknown encoding %q", e.encoding)
	}
	if err != nil {
		return Image{}, fmt.Errorf("encode %v frame as %s: %w", f.Format, e.encoding, err)
	}
	return img, nil
}

// RawBGR is the frame as rows of BGR24 without padding, whatever encoding is
// configured. Ownership is as with Encode.
func (e *Encoder) RawBGR(ctx context.Context, dst []byte, f *Frame) ([]byte, error) {
	if err := f.Check(); err != nil {
		return nil, fmt.Errorf("convert frame: %w", err)
	}
	if f.Format == BGR24 {
		return f.Data, nil
	}
	if f.Format == YUYV {
		dst = grow(dst, f.Width*f.Height*3)
		yuyvToBGR(dst, f.Data)
		return dst, nil
	}
	return e.decoder.jpeg(ctx, dst, f.Data, f.Width, f.Height)
}

func (e *Encoder) encodeJPEG(dst []byte, f *Frame) ([]byte, error) {
	if f.Format == MJPEG {
		return f.Data, nil
	}
	return e.jpeg(dst, f, e.Quality())
}

// stdJPEG is the JPEGFunc of builds without libjpeg-turbo.
func (e *Encoder) stdJPEG(dst []byte, f *Frame, quality int) ([]byte, error) {
	r := image.Rect(0, 0, f.Width, f.Height)
	if e.ycbcr == nil || e.ycbcr.Rect != r {
		e.ycbcr = image.NewYCbCr(r, image.YCbCrSubsampleRatio420)
	}
	if f.Format == YUYV {
		yuyvToYCbCr(e.ycbcr, f.Data, f.Width, f.Height)
	} else {
		bgrToYCbCr(e.ycbcr, f.Data, f.Width, f.Height)
	}
	out := appender{dst}
	err := jpeg.Encode(&out, e.ycbcr, &jpeg.Options{Quality: quality})
	return out.b, err
}

func (e *Encoder) encodePNG(ctx context.Context, dst []byte, f *Frame) ([]byte, error) {
	bgr, err := e.RawBGR(ctx, e.bgr, f)
	if err != nil {
		return nil, err
	}
	if f.Format != BGR24 {
		e.bgr = bgr
	}
	e.rgba = grow(e.rgba, f.Width*f.Height*4)
	bgrToRGBA(e.rgba, bgr)
	m := &image.RGBA{Pix: e.rgba, Stride: f.Width * 4, Rect: image.Rect(0, 0, f.Width, f.Height)}
	out := appender{dst}
	err = e.png.Encode(&out, m)
	return out.b, err
}

// appender collects what an encoder writes. The methods beyond Write spare
// image/jpeg a buffer of its own.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) { a.b = append(a.b, p...); return len(p), nil }
func (a *appender) WriteByte(c byte) error      { a.b = append(a.b, c); return nil }
func (a *appender) Flush() error                { return nil }

// pngBuffer holds the one png.EncoderBuffer an Encoder needs.
type pngBuffer struct{ b *png.EncoderBuffer }

func (p *pngBuffer) Get() *png.EncoderBuffer  { return p.b }
func (p *pngBuffer) Put(b *png.EncoderBuffer) { p.b = b }
