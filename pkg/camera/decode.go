package camera

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"runtime"

	"framekeeper/pkg/frame"
)

// maxScans is how many scans a JPEG may have that is decoded. Progressive ones have
// about ten; each takes a few bytes and a pass over all pixels.
const maxScans = 100

// readStep is how many bytes a decoder gets at a time: it ends with its context
// before it asks for more.
const readStep = 1 << 10

// largeDecoding is how many bytes of memory are worth the milliseconds of a garbage
// collection.
const largeDecoding = 64 << 20

// Decoder turns encoded images into raw pixels. It refuses an image for which that
// and what is made of the pixels would take more memory than max_decode_bytes,
// before any is taken. Any goroutine may use it.
type Decoder struct {
	max    int64 // bytes
	result int64 // bytes for each pixel that the result and its copies take
}

// NewDecoder makes the Decoder for a camera's images.
func NewDecoder(cfg Config) Decoder {
	d := Decoder{max: int64(cfg.MaxDecodeBytes), result: 3 + 3} // in a message or a reply too
	if cfg.Encoding == frame.PNG {
		d.result += 4 + 3 // what the encoder reads, and at most writes
	}
	return d
}

// BGR is an encoded image, JPEG or PNG, as rows of BGR24 without padding. The error
// is ctx's if it ends meanwhile.
func (d Decoder) BGR(ctx context.Context, data []byte, encoding frame.Encoding, width, height int) ([]byte, error) {
	if encoding == frame.PNG {
		return d.decode(ctx, nil, data, codec{png.DecodeConfig, png.Decode, pngBytes}, width, height)
	}
	return d.jpeg(ctx, nil, data, width, height)
}

func (d Decoder) jpeg(ctx context.Context, dst, data []byte, width, height int) ([]byte, error) {
	j, err := InspectJPEG(data)
	if err != nil {
		return nil, fmt.Errorf("decode image: %w", err)
	}
	if n := bytes.Count(j.Data, []byte{0xff, markSOS}); n > maxScans {
		return nil, fmt.Errorf("decode image: a JPEG of %d scans, at most %d are allowed", n, maxScans)
	}
	return d.decode(ctx, dst, data, codec{jpeg.DecodeConfig, jpeg.Decode, j.decodedBytes}, width, height)
}

// codec is a decoder of the standard library.
type codec struct {
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
	size   func(image.Config) float64 // bytes of memory for each pixel
}

// decode checks the size first: a few hostile bytes can announce an image of
// gigabytes.
func (d Decoder) decode(ctx context.Context, dst, data []byte, c codec, width, height int) ([]byte, error) {
	head, err := c.config(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("decode image: %w", err)
	}
	if head.Width != width || head.Height != height {
		return nil, fmt.Errorf("image is %dx%d, expected %dx%d", head.Width, head.Height, width, height)
	}
	need := int64(float64(width) * float64(height) * (float64(d.result) + c.size(head)))
	if need > d.max {
		return nil, fmt.Errorf("decode image: %dx%d pixels would take %d MiB of memory, more than max_decode_bytes (%d MiB)",
			width, height, need>>20, d.max>>20)
	}
	if need > largeDecoding {
		runtime.GC() // what the image before has left must not add to this one
	}
	ended := func() error { return context.Cause(ctx) }
	m, err := c.decode(&endingReader{ended, data})
	if err == nil {
		err = ended()
	}
	if err != nil {
		return nil, fmt.Errorf("decode image: %w", err)
	}
	dst = grow(dst, width*height*3)
	imageToBGR(dst, m)
	return dst, nil
}

// pngBytes is what the PNG decoder takes for each pixel.
func pngBytes(head image.Config) float64 {
	switch head.ColorModel {
	case color.GrayModel:
		return 1
	case color.RGBAModel, color.NRGBAModel:
		return 4
	default: // 16 bits a sample, or a palette
		return 8
	}
}

// decodedBytes is what the decoder takes for each pixel: its samples, an int32 for each
// coefficient of a progressive image, and the copy that is made of CMYK and RGB.
func (j *JPEG) decodedBytes(head image.Config) float64 {
	n := j.samples
	if j.Progressive {
		n *= 1 + 4
	}
	if head.ColorModel == color.CMYKModel || head.ColorModel == color.RGBAModel {
		n += 4
	}
	return n
}

// endingReader gives data in small pieces until its context ends.
type endingReader struct {
	ended func() error
	data  []byte
}

func (r *endingReader) Read(p []byte) (int, error) {
	if err := r.ended(); err != nil {
		return 0, err
	}
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), readStep)], r.data)
	r.data = r.data[n:]
	return n, nil
}
