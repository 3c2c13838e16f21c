package camera

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"testing"

	"framekeeper/pkg/camera"
)

// images checks what comes out: the size that was asked for, at its rate,
// and in the colours that the driver draws.
func (w *world) images(t *testing.T) {
	for _, s := range []setup{
		{width: 320, height: 180, fps: 30},
		{width: 640, height: 360, fps: 15, format: "yuyv"},
		{width: 640, height: 480, fps: 10},
		{width: 1280, height: 720, fps: 4},
	} {
		s.source = w.device
		s.controls = "test_pattern = 1" // bars of full colour, which show whether the range of the values was understood
		t.Run(fmt.Sprintf("%dx%d@%v", s.width, s.height, s.fps), func(t *testing.T) { w.image(t, s) })
	}
}

func (w *world) image(t *testing.T, c setup) {
	s := w.stage(t, c)
	found, ok := s.watcher.status(s.Context(), s.began, patient, func(got capture) bool {
		return got.State == camera.StateOK && got.Frames >= 15 && got.FPS > 0.9*c.fps && got.FPS < 1.1*c.fps
	})
	if !ok {
		s.Errorf("want %v frames a second: %+v", c.fps, s.watcher.last())
	}
	arrival := s.watcher.newest()
	if arrival.Header.Width != c.width || arrival.Header.Height != c.height {
		s.Errorf("the header has %dx%d", arrival.Header.Width, arrival.Header.Height)
	}
	img, err := jpeg.Decode(bytes.NewReader(arrival.Image()))
	if err != nil {
		s.Fatal(err)
	}
	if got := img.Bounds().Size(); got != image.Pt(c.width, c.height) {
		s.Errorf("the image is %v", got)
	}
	bars(s, img)
	s.record(outcome{
		name: fmt.Sprintf("none, %dx%d@%v", c.width, c.height, c.fps), notice: never, recover: never, slowest: never,
		skipped: found.Skipped, broken: found.Broken, note: fmt.Sprintf("%s, %.1f fps", found.Format, found.FPS),
	})
}

// bars compares the middle of each bar of vivid's "100% Colorbar" with the
// colour it has to have.
func bars(s *scene, img image.Image) {
	s.Helper()
	const tolerance = 12
	want := [][3]int{
		{255, 255, 255}, {255, 255, 0}, {0, 255, 255}, {0, 255, 0}, {255, 0, 255}, {255, 0, 0}, {0, 0, 255}, {0, 0, 0},
	}
	size := img.Bounds().Size()
	for i, rgb := range want {
		r, g, b, _ := img.At((2*i+1)*size.X/(2*len(want)), size.Y*9/10).RGBA()
		got := [3]int{int(r >> 8), int(g >> 8), int(b >> 8)}
		for c := range rgb {
			if d := got[c] - rgb[c]; d > tolerance || d < -tolerance {
				s.Errorf("bar %d is %v, want %v", i+1, got, rgb)
				break
			}
		}
	}
}
