package camera

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"

	"framekeeper/internal/bytesize"
	"framekeeper/pkg/frame"
)

// maxDecoding is how many bytes the decoding of one image may take, its result
// included: 44 megapixels of a baseline JPEG, 17 of a progressive one.
const maxDecoding = 256 * int64(bytesize.MiB)

// DecodeBGR is an encoded image, JPEG or PNG, as rows of BGR24 without padding.
func DecodeBGR(data []byte, encoding frame.Encoding, width, height int) ([]byte, error) {
	if encoding == frame.PNG {
		return decodeBGR(nil, data, codec{png.DecodeConfig, png.Decode, 1}, width, height)
	}
	return decodeJPEG(nil, data, width, height)
}

func decodeJPEG(dst, data []byte, width, height int) ([]byte, error) {
	c := codec{jpeg.DecodeConfig, jpeg.Decode, 1}
	if j, err := InspectJPEG(data); err != nil || j.Progressive {
		c.sample += 4 // an int32 for each coefficient
	}
	return decodeBGR(dst, data, c, width, height)
}

// codec is a decoder of the standard library.
type codec struct {
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
	sample int64 // bytes of memory for each sample
}

// decodeBGR checks the size first: a few hostile bytes can announce an image of
// gigabytes.
func decodeBGR(dst, data []byte, c codec, width, height int) ([]byte, error) {
	head, err := c.config(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("decode image: %w", err)
	}
	if head.Width != width || head.Height != height {
		return nil, fmt.Errorf("image is %dx%d, expected %dx%d", head.Width, head.Height, width, height)
	}
	if need := int64(width) * int64(height) * (3 + pixelBytes(head.ColorModel, c.sample)); need > maxDecoding {
		return nil, fmt.Errorf("decode image: %dx%d pixels would take %d MiB of memory, at most %d are allowed",
			width, height, need>>20, maxDecoding>>20)
	}
	m, err := c.decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("decode image: %w", err)
	}
	dst = grow(dst, width*height*3)
	imageToBGR(dst, m)
	return dst, nil
}

// pixelBytes is what a decoder takes for each pixel.
func pixelBytes(model color.Model, sample int64) int64 {
	switch model {
	case color.GrayModel:
		return sample
	case color.YCbCrModel:
		return 3 * sample
	case color.CMYKModel, color.RGBAModel, color.NRGBAModel: // a JPEG's is made from another copy
		return 4*sample + 4
	default: // 16 bits a sample, or a palette
		return 8 * sample
	}
}
