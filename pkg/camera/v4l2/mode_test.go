package v4l2

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"framekeeper/pkg/camera"
)

// table is a catalog written down.
type table []struct {
	code  string
	sizes []tableSize
}

type tableSize struct {
	sizeRange
	rates []rateRange
}

func (t table) formats() []fourCC {
	var all []fourCC
	for _, f := range t {
		all = append(all, makeFourCC(f.code))
	}
	return all
}

func (t table) sizes(code fourCC) []sizeRange {
	var all []sizeRange
	for _, f := range t {
		for _, s := range f.sizes {
			if makeFourCC(f.code) == code {
				all = append(all, s.sizeRange)
			}
		}
	}
	return all
}

func (t table) rates(code fourCC, w, h int) []rateRange {
	for _, f := range t {
		for _, s := range f.sizes {
			if makeFourCC(f.code) == code && s.width.near(w) == w && s.height.near(h) == h {
				return s.rates
			}
		}
	}
	return nil
}

// at is one size with its rates.
func at(w, h int, fps ...uint32) tableSize {
	s := tableSize{sizeRange: sizeRange{span{w, w, 0}, span{h, h, 0}}}
	for _, r := range fps {
		s.rates = append(s.rates, rateRange{fraction{1, r}, fraction{1, r}})
	}
	return s
}

func TestChoose(t *testing.T) {
	webcam := table{
		{"YUYV", []tableSize{at(640, 480, 30, 15), at(1280, 720, 10, 5), at(1920, 1080, 5)}},
		{"MJPG", []tableSize{at(640, 480, 30), at(1280, 720, 60, 30, 25), at(1920, 1080, 30)}},
		{"H264", []tableSize{at(1280, 720, 30)}},
	}
	ranges := table{{"UYVY", []tableSize{{
		sizeRange{span{16, 1000, 8}, span{16, 500, 2}},
		[]rateRange{{fraction{1, 50}, fraction{1, 10}}},
	}}}}
	for _, c := range []struct {
		name    string
		offered table
		w, h    int
		fps     float64
		format  camera.Format
		want    string
	}{
		{"mjpeg at size and rate", webcam, 1280, 720, 30, camera.FormatAuto, "MJPG 1280x720 1/30"},
		{"both can", webcam, 640, 480, 30, camera.FormatAuto, "MJPG 640x480 1/30"},
		{"only yuyv has the rate", webcam, 640, 480, 15, camera.FormatAuto, "YUYV 640x480 1/15"},
		{"29.97 is 30", webcam, 640, 480, 29.97, camera.FormatAuto, "MJPG 640x480 1/30"},
		{"yuyv only", webcam, 1280, 720, 30, camera.FormatYUYV, "YUYV 1280x720 1/10"},
		{"nearest size", webcam, 1300, 700, 25, camera.FormatAuto, "MJPG 1280x720 1/25"},
		{"nearest rate", webcam, 1280, 720, 50, camera.FormatMJPEG, "MJPG 1280x720 1/60"},
		{"larger than any", webcam, 4000, 3000, 30, camera.FormatAuto, "MJPG 1920x1080 1/30"},
		{"range", ranges, 333, 333, 20, camera.FormatAuto, "UYVY 336x334 1/20"},
		{"range's end", ranges, 4000, 10, 100, camera.FormatYUYV, "UYVY 1000x16 1/50"},
		{"nothing said", table{{"GREY", nil}}, 123, 77, 12.5, camera.FormatAuto, "GREY 123x77 1000/12500"},
		{"size said, rate not", table{{"BGR3", []tableSize{at(64, 48)}}}, 640, 480, 30, camera.FormatAuto, "BGR3 64x48 1/30"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := camera.Config{Width: c.w, Height: c.h, FPS: c.fps, Format: c.format}
			m, err := choose(c.offered, cfg)
			got := fmt.Sprintf("%s %dx%d %d/%d", m.code, m.width, m.height, m.interval.num, m.interval.den)
			if err != nil || got != c.want {
				t.Errorf("got %s, %v; want %s", got, err, c.want)
			}
		})
	}
}

func TestChooseRefuses(t *testing.T) {
	for _, c := range []struct {
		offered table
		format  camera.Format
		says    string
		kind    error
	}{
		{table{{"YUYV", nil}, {"H264", nil}}, camera.FormatMJPEG, `it offers YUYV, H264; expected format = "auto"`, camera.ErrUnsupported},
		{table{{"BA81", nil}}, camera.FormatAuto, "offers BA81, expected one of MJPG", camera.ErrUnsupported},
		{nil, camera.FormatAuto, "no format yet", camera.ErrNoData},
	} {
		_, err := choose(c.offered, camera.Config{Width: 640, Height: 480, FPS: 30, Format: c.format})
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("got %v, want it to say %q and to be %v", err, c.says, c.kind)
		}
	}
}

func TestNonsenseFromDrivers(t *testing.T) {
	zero := table{{"YUYV", []tableSize{{sizeRange{}, []rateRange{{}, {fraction{0, 5}, fraction{3, 0}}}}}}}
	m, err := choose(zero, camera.Config{Width: 640, Height: 480, FPS: 30})
	if err != nil || m.interval != (fraction{1, 30}) {
		t.Errorf("got %+v, %v, want the asked rate", m, err)
	}
	if got := (span{low: 10, high: 5, step: -3}).near(7); got != 5 && got != 7 && got != 10 {
		t.Errorf("a reversed range gave %d", got)
	}
}

func TestFourCC(t *testing.T) {
	for _, c := range []struct {
		code fourCC
		want string
	}{{makeFourCC("MJPG"), "MJPG"}, {makeFourCC("Y16 "), "Y16"}, {makeFourCC("Y16 ") | 1<<31, "Y16-BE"}, {0x01414141, "AAA?"}} {
		if got := c.code.String(); got != c.want {
			t.Errorf("%#x: got %q, want %q", uint32(c.code), got, c.want)
		}
	}
}
