//go:build !noopencv

package turbojpeg

import (
	"strings"
	"testing"

	"framekeeper/pkg/camera"
)

var _ camera.ShrinkFunc = Shrink

// The mean of every image stays the same, whatever its size and scale.
func TestShrink(t *testing.T) {
	for _, size := range [][2]int{{640, 360}, {33, 17}, {1, 1}} {
		data, err := new(Encoder).Encode(nil, bgrOf(waves(size[0], size[1])), 95)
		if err != nil {
			t.Fatal(err)
		}
		whole := 0.0
		for eighths := 8; eighths >= 1; eighths-- {
			bgr, w, h, err := Shrink(nil, data, eighths)
			if err != nil || w != (size[0]*eighths+7)/8 || h != (size[1]*eighths+7)/8 || len(bgr) != w*h*3 {
				t.Fatalf("%v at %d/8: got %dx%d in %d bytes (%v)", size, eighths, w, h, len(bgr), err)
			}
			sum := 0.0
			for _, v := range bgr {
				sum += float64(v)
			}
			mean := sum / float64(len(bgr))
			if eighths == 8 {
				whole = mean
			}
			if diff := mean - whole; diff < -4 || diff > 4 {
				t.Errorf("%v at %d/8: the mean is %.1f, of the whole image %.1f", size, eighths, mean, whole)
			}
		}
	}
}

func TestShrinkRefuses(t *testing.T) {
	good, err := new(Encoder).Encode(nil, bgrOf(waves(64, 48)), 80)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := Shrink(nil, good, 9); err == nil || !strings.Contains(err.Error(), "expected 1 to 8") {
		t.Errorf("nine eighths: got %v", err)
	}
	if _, _, _, err := Shrink(nil, []byte("no JPEG"), 4); err == nil {
		t.Error("what is no JPEG: got no error")
	}
	broken := append([]byte(nil), good...)
	for i := 100; i < len(broken)-2; i++ { // only the size survives
		broken[i] |= 0x80
	}
	_, _, _, _ = Shrink(nil, broken, 4) // whatever it says, nothing ends
}
