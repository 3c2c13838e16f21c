package camera

import (
	"bytes"
	"context"
	"fmt"

	"framekeeper/pkg/frame"
)

// ShrinkFunc decodes a JPEG to rows of BGR24 with both sides at eighths/8 of its own,
// rounded up, over dst, which it grows as needed; eighths is 1 to 8. The JPEG has
// passed InspectJPEG. It is called by one goroutine at a time.
type ShrinkFunc func(dst, jpeg []byte, eighths int) (bgr []byte, width, height int, err error)

// Preview makes JPEGs of frames for people to look at, whole or smaller. It has
// scratch buffers and is for one goroutine at a time.
type Preview struct {
	encoder *Encoder
	shrink  ShrinkFunc
	max     int64  // bytes that decoding may take
	bgr     []byte // a frame at full size
	small   []byte // the same after shrinking
}

// NewPreview makes a Preview of a camera. A nil encode or shrink is the standard
// library.
func NewPreview(cfg Config, encode JPEGFunc, shrink ShrinkFunc) *Preview {
	cfg.Encoding = frame.JPEG
	p := &Preview{encoder: NewEncoder(cfg, encode), shrink: shrink, max: int64(cfg.MaxDecodeBytes)}
	if shrink == nil {
		p.shrink = p.stdShrink
	}
	return p
}

// Eighths is the scale at which an image of this width is not narrower than wanted,
// in eighths: 1 to 8. Wanted 0 is the whole image.
func Eighths(width, wanted int) int {
	if wanted <= 0 || width <= 0 || wanted >= width {
		return 8
	}
	return (wanted*8 + width - 1) / width
}

// JPEG makes the JPEG of a frame with its sides at eighths/8, rounded up; quality is
// 1 to 100. A camera's own JPEG at full size is copied, not encoded again.
func (p *Preview) JPEG(ctx context.Context, f *Frame, eighths, quality int) (jpeg []byte, width, height int, err error) {
	p.encoder.SetQuality(quality)
	if eighths < 8 {
		small, err := p.smaller(f, eighths)
		if err != nil {
			return nil, 0, 0, fmt.Errorf("make a smaller image: %w", err)
		}
		f = small
	}
	img, err := p.encoder.Encode(ctx, nil, f)
	if err != nil {
		return nil, 0, 0, err
	}
	if f.Format == MJPEG {
		img.Data = append([]byte(nil), img.Data...) // the frame's own bytes are reused
	}
	return img.Data, img.Width, img.Height, nil
}

func (p *Preview) smaller(f *Frame, eighths int) (*Frame, error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	small := &Frame{Format: BGR24, Captured: f.Captured}
	var err error
	if f.Format == MJPEG {
		if err := p.decodable(f.Data); err != nil {
			return nil, err
		}
		p.small, small.Width, small.Height, err = p.shrink(p.small, f.Data, eighths)
	} else {
		p.small, small.Width, small.Height, err = p.shrinkPixels(p.small, f, eighths)
	}
	small.Data = p.small
	return small, err
}

// decodable refuses a JPEG whose decoding takes more memory than is allowed.
func (p *Preview) decodable(data []byte) error {
	j, err := InspectJPEG(data)
	if err != nil {
		return err
	}
	pixel := 3.0
	if j.Progressive {
		pixel += 2 * j.samples // for its coefficients
	}
	if n := bytes.Count(j.Data, []byte{0xff, markSOS}); n > maxScans {
		return fmt.Errorf("decode image: a JPEG of %d scans, at most %d are allowed", n, maxScans)
	}
	if need := int64(float64(j.Width) * float64(j.Height) * pixel); need > p.max {
		return fmt.Errorf("decode image: %dx%d pixels would take %d MiB of memory, more than max_decode_bytes (%d MiB)",
			j.Width, j.Height, need>>20, p.max>>20)
	}
	return nil
}

// stdShrink is the ShrinkFunc of builds without libjpeg-turbo.
func (p *Preview) stdShrink(dst, jpeg []byte, eighths int) (bgr []byte, width, height int, err error) {
	j, err := InspectJPEG(jpeg)
	if err != nil {
		return nil, 0, 0, err
	}
	return p.shrinkPixels(dst, &Frame{Data: jpeg, Format: MJPEG, Width: j.Width, Height: j.Height}, eighths)
}

// shrinkPixels averages the pixels of a frame.
func (p *Preview) shrinkPixels(dst []byte, f *Frame, eighths int) (bgr []byte, width, height int, err error) {
	full := f.Data
	if f.Format != BGR24 {
		if full, err = p.encoder.RawBGR(context.Background(), p.bgr, f); err != nil { // it is small enough to be done soon
			return nil, 0, 0, err
		}
		p.bgr = full
	}
	width, height = scaled(f.Width, eighths), scaled(f.Height, eighths)
	dst = grow(dst, width*height*3)
	for y := range height {
		top, bottom := y*f.Height/height, (y+1)*f.Height/height
		for x := range width {
			left, right := x*f.Width/width, (x+1)*f.Width/width
			average(dst[3*(y*width+x):], full, f.Width, left, top, right, bottom)
		}
	}
	return dst, width, height, nil
}

func scaled(side, eighths int) int { return (side*eighths + 7) / 8 }

// average writes the mean of a rectangle of pixels to the first three bytes of dst.
func average(dst, bgr []byte, stride, left, top, right, bottom int) {
	var blue, green, red int
	for y := top; y < bottom; y++ {
		row := bgr[3*(y*stride+left) : 3*(y*stride+right)]
		for ; len(row) >= 3; row = row[3:] {
			blue, green, red = blue+int(row[0]), green+int(row[1]), red+int(row[2])
		}
	}
	n := (right - left) * (bottom - top)
	dst[0], dst[1], dst[2] = byte(blue/n), byte(green/n), byte(red/n)
}
