package web

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"

	"framekeeper/internal/agentapi"
	"framekeeper/pkg/camera"
)

// maxCrossed is how many pixels a picture may have that is crossed out here.
const maxCrossed = 64 << 20

// crossOut is a picture that nobody takes for a live one: grey, and crossed out. It
// stands in a stream where no exposure comes any more, because a browser would go on
// showing the last one. nil: that cannot be made.
func crossOut(p *agentapi.Picture, why string) *agentapi.Picture {
	j, err := camera.InspectJPEG(p.JPEG)
	if err != nil || j.Width*j.Height > maxCrossed {
		return nil
	}
	m, err := jpeg.Decode(bytes.NewReader(p.JPEG))
	if err != nil {
		return nil
	}
	grey := image.NewGray(m.Bounds())
	draw.Draw(grey, grey.Rect, m, m.Bounds().Min, draw.Src)
	cross(grey)
	var b bytes.Buffer
	if err := jpeg.Encode(&b, grey, &jpeg.Options{Quality: 70}); err != nil {
		return nil
	}
	out := *p
	out.JPEG, out.Stale = b.Bytes(), why
	return &out
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
