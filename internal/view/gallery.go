package view

import (
	"context"
	"encoding/binary"
	"errors"

	"framekeeper/internal/images"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
)

// gallery is a folder of stored images with small ones of them.
type gallery struct {
	*images.Folder
	pictures *pictures
}

// Thumbnail is an image as a JPEG that is not narrower than wanted.
func (g *gallery) Thumbnail(ctx context.Context, name, file string, width int) ([]byte, error) {
	b, f, err := g.Read(name, file)
	if err != nil {
		return nil, err
	}
	h := frame.Header{Encoding: f.Encoding}
	switch f.Encoding {
	case frame.PNG:
		h.Width, h.Height, err = pngSize(b)
	case frame.Raw:
		h.Width, h.Height, b, err = images.Pixels(b)
	}
	if err != nil {
		return nil, err
	}
	if f.Encoding == frame.JPEG {
		j, err := camera.InspectJPEG(b)
		if err != nil {
			return nil, err
		}
		h.Width = j.Width
	}
	jpeg, _, _, err := g.pictures.jpeg(ctx, &h, b, camera.Eighths(h.Width, width))
	return jpeg, err
}

var errPNG = errors.New("it is no PNG")

// pngSize is what a PNG's first chunk says.
func pngSize(b []byte) (w, h int, err error) {
	if len(b) < 24 || string(b[12:16]) != "IHDR" {
		return 0, 0, errPNG
	}
	return int(binary.BigEndian.Uint32(b[16:])), int(binary.BigEndian.Uint32(b[20:])), nil
}
