package images

import (
	"encoding/binary"
	"fmt"
	"math"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
)

// The extensions of stored files.
const (
	extJPEG = ".jpg"
	extPNG  = ".png"
	extBMP  = ".bmp" // raw frames
	extRaw  = ".raw" // raw frames that arrived damaged, as they came
)

// storedImage is one message as it will be stored.
type storedImage struct {
	name
	body   []byte
	damage error // not nil: it goes to corrupt/
}

// newStoredImage refuses what has no business in a file and finds out what is damaged.
func newStoredImage(m *frame.Message) (storedImage, error) {
	h := &m.Header
	switch {
	case h.Status != frame.StatusOK:
		return storedImage{}, fmt.Errorf("%w: status %q", ErrRefused, h.Status)
	case !camera.ValidName(h.Camera):
		return storedImage{}, fmt.Errorf("%w: camera %.80q", ErrRefused, h.Camera)
	case h.ID.IsZero():
		return storedImage{}, fmt.Errorf("%w: no ID", ErrRefused)
	}
	p := storedImage{name: name{key: key{camera: h.Camera, id: h.ID}, captured: clampCaptured(h.CapturedUS)}}
	switch h.Encoding {
	case frame.JPEG:
		p.ext = extJPEG
	case frame.PNG:
		p.ext = extPNG
	case frame.Raw:
		p.ext = extRaw
	default:
		return storedImage{}, fmt.Errorf("%w: encoding %.80q", ErrRefused, h.Encoding)
	}
	p.body = m.Image()
	p.damage = damage(h, p.body)
	if p.damage == nil && h.Encoding == frame.Raw {
		var bmp []byte
		if bmp, p.damage = BMP(h, p.body); p.damage == nil {
			p.ext, p.body = extBMP, bmp
		}
	}
	p.corrupt = p.damage != nil
	return p, nil
}

func damage(h *frame.Header, image []byte) error {
	switch {
	case len(image) == 0:
		return fmt.Errorf("%w: it is empty", ErrCorrupt)
	case len(image) != h.Bytes:
		return fmt.Errorf("%w: %d bytes, its header says %d", ErrCorrupt, len(image), h.Bytes)
	case h.CRC32C != "" && h.CRC32C != frame.Checksum(image):
		return fmt.Errorf("%w: its checksum is wrong", ErrCorrupt)
	}
	return nil
}

// BMP wraps raw BGR24 rows as a Windows bitmap, bottom row first as the format
// has it. It fails with ErrCorrupt when the pixels do not fit the header.
func BMP(h *frame.Header, pixels []byte) ([]byte, error) {
	const head = 14 + 40
	if h.PixelFormat != frame.PixelBGR24 {
		return nil, fmt.Errorf("%w: pixels are %.40q, expected %s", ErrCorrupt, h.PixelFormat, frame.PixelBGR24)
	}
	if h.Width < 1 || h.Height < 1 || h.Width > math.MaxInt16 || h.Height > math.MaxInt16 ||
		len(pixels) != h.Width*h.Height*3 {
		return nil, fmt.Errorf("%w: %d bytes of pixels are no %dx%d image", ErrCorrupt, len(pixels), h.Width, h.Height)
	}
	row := h.Width * 3
	stride := (row + 3) &^ 3
	b := make([]byte, head+stride*h.Height)
	copy(b, "BM")
	le := binary.LittleEndian
	le.PutUint32(b[2:], uint32(len(b)))
	le.PutUint32(b[10:], head)
	le.PutUint32(b[14:], 40)
	le.PutUint32(b[18:], uint32(h.Width))
	le.PutUint32(b[22:], uint32(h.Height))
	le.PutUint16(b[26:], 1)  // planes
	le.PutUint16(b[28:], 24) // bits a pixel
	le.PutUint32(b[34:], uint32(stride*h.Height))
	for y := range h.Height {
		copy(b[head+(h.Height-1-y)*stride:], pixels[y*row:(y+1)*row])
	}
	return b, nil
}

// Pixels takes a file that BMP has made apart: its size and rows of BGR24, the top row
// first.
func Pixels(bmp []byte) (width, height int, pixels []byte, err error) {
	const head = 14 + 40
	if len(bmp) < head || string(bmp[:2]) != "BM" {
		return 0, 0, nil, fmt.Errorf("%w: it is no BMP of ours", ErrCorrupt)
	}
	width, height = int(binary.LittleEndian.Uint32(bmp[18:])), int(binary.LittleEndian.Uint32(bmp[22:]))
	if width < 1 || height < 1 || width > math.MaxInt16 || height > math.MaxInt16 {
		return 0, 0, nil, fmt.Errorf("%w: a BMP of %dx%d", ErrCorrupt, width, height)
	}
	row := width * 3
	stride := (row + 3) &^ 3
	if len(bmp) != head+stride*height {
		return 0, 0, nil, fmt.Errorf("%w: %d bytes are no BMP of %dx%d", ErrCorrupt, len(bmp), width, height)
	}
	pixels = make([]byte, 0, row*height)
	for y := range height {
		at := head + (height-1-y)*stride
		pixels = append(pixels, bmp[at:at+row]...)
	}
	return width, height, pixels, nil
}
