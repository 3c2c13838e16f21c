package web

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/jpeg"

	"framekeeper/internal/agentapi"
	"framekeeper/internal/bytesize"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
)

// maxCrossed is how much memory it may take to cross out a picture.
const maxCrossed = 96 * bytesize.MiB

// crossOut is a picture that nobody takes for a live one: grey, and crossed out. It
// stands in a stream where no exposure comes any more, because a browser would go on
// showing the last one. A picture that cannot be decoded here, or is too large for it,
// becomes a blank one.
func crossOut(p *agentapi.Picture, why string) *agentapi.Picture {
	grey, err := greyOf(p.JPEG)
	if err != nil {
		grey = image.NewGray(image.Rect(0, 0, 640, 360))
	}
	cross(grey)
	var b bytes.Buffer
	_ = jpeg.Encode(&b, grey, &jpeg.Options{Quality: 70}) // a buffer takes all, and the sides are no longer than a JPEG's
	out := *p
	out.JPEG, out.Width, out.Height, out.Stale = b.Bytes(), grey.Rect.Dx(), grey.Rect.Dy(), why
	return &out
}

// greyOf is a JPEG without its colours.
func greyOf(data []byte) (*image.Gray, error) {
	j, err := camera.InspectJPEG(data)
	if err != nil {
		return nil, err
	}
	bounded := camera.NewDecoder(camera.Config{MaxDecodeBytes: maxCrossed})
	bgr, err := bounded.BGR(context.Background(), data, frame.JPEG, j.Width, j.Height)
	if err != nil {
		return nil, err
	}
	grey := image.NewGray(image.Rect(0, 0, j.Width, j.Height))
	for i := range grey.Pix {
		blue, green, red := int(bgr[3*i]), int(bgr[3*i+1]), int(bgr[3*i+2])
		grey.Pix[i] = byte((299*red + 587*green + 114*blue) / 1000)
	}
	return grey, nil
}

// cross draws both diagonals, white with a black edge, a fiftieth of the height wide.
func cross(m *image.Gray) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	thick := max(h/50, 2)
	for _, pen := range []struct {
		reach int
		shade uint8
	}{{thick * 2, 0}, {thick, 255}} {
		for x := range w {
			middle := x * (h - 1) / max(w-1, 1)
			for y := middle - pen.reach; y <= middle+pen.reach; y++ {
				m.SetGray(m.Rect.Min.X+x, m.Rect.Min.Y+y, color.Gray{Y: pen.shade})
				m.SetGray(m.Rect.Min.X+x, m.Rect.Min.Y+h-1-y, color.Gray{Y: pen.shade})
			}
		}
	}
}
