package camera

import (
	"testing"

	"framekeeper/pkg/frame"
)

func TestLargestFrame(t *testing.T) {
	for want, c := range map[int64]Config{
		1280 * 720:      {Width: 1280, Height: 720, Encoding: frame.JPEG, Wire: WireJSON},
		1280 * 720 * 3:  {Width: 1280, Height: 720, Encoding: frame.JPEG, Wire: WirePickle},
		3840 * 2160 * 3: {Width: 3840, Height: 2160, Encoding: frame.Raw, Wire: WireJSON},
		800 * 600 * 3:   {Width: 800, Height: 600, Encoding: frame.PNG, Wire: WireJSON},
		512 << 20:       {Width: 16384, Height: 16384, Encoding: frame.Raw, Wire: WireJSON},
	} {
		if got := c.LargestFrame(); got != want {
			t.Errorf("%dx%d %s, wire %s: got %d, want %d", c.Width, c.Height, c.Encoding, c.Wire, got, want)
		}
	}
}
