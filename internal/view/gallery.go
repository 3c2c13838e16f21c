package view

import (
	"bytes"
	"context"
	"image"
	"image/png"

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
		var size image.Config
		size, err = png.DecodeConfig(bytes.NewReader(b))
		h.Width, h.Height = size.Width, size.Height
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
