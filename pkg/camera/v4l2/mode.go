package v4l2

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"framekeeper/pkg/camera"
)

// settingError is a setting that this camera cannot follow: starting again
// will not help. It counts as camera.ErrUnsupported without its words.
type settingError struct{ error }

func (e settingError) Is(target error) bool { return target == camera.ErrUnsupported }
func (e settingError) Unwrap() error        { return e.error }

func settingErrorf(format string, args ...any) error {
	return settingError{fmt.Errorf(format, args...)}
}

// span is what a camera offers between two limits, step apart; a single value
// has low == high.
type span struct{ low, high, step int }

// near is the value on offer that is nearest to v.
func (s span) near(v int) int {
	v = min(max(v, s.low), s.high)
	if s.step > 1 {
		v = s.low + (v-s.low+s.step/2)/s.step*s.step
		if v > s.high {
			v -= s.step
		}
	}
	return v
}

// sizeRange is one size, or a range of them.
type sizeRange struct{ width, height span }

// rateRange is one rate, or a range of them, as the intervals they are.
type rateRange struct{ shortest, longest fraction }

// catalog is what a camera offers. Drivers may leave out sizes or rates.
type catalog interface {
	formats() []fourCC
	sizes(fourCC) []sizeRange
	rates(code fourCC, width, height int) []rateRange
}

// mode is what a camera is asked for.
type mode struct {
	layout
	width, height int
	interval      fraction
}

// miss is by how much a mode differs from the configured one.
type miss struct{ size, rate float64 }

func (m miss) less(o miss) bool {
	if m.size != o.size {
		return m.size < o.size
	}
	return m.rate < o.rate
}

// choose finds the mode that is nearest to the configured one: first
// by size, then by rate, then by the order of layouts. So MJPEG is taken when it
// comes in the configured size and rate, and something else when only that does.
func choose(c catalog, cfg camera.Config) (mode, error) {
	offered := c.formats()
	var best mode
	var bestMiss miss
	for _, l := range layouts() {
		if !slices.Contains(offered, l.code) || !wanted(l, cfg.Format) {
			continue
		}
		if m, missed := nearest(c, l, cfg); best.code == 0 || missed.less(bestMiss) {
			best, bestMiss = m, missed
		}
	}
	if best.code == 0 {
		return mode{}, noFormat(offered, cfg.Format)
	}
	return best, nil
}

// wanted reports whether the configuration lets a layout be chosen.
func wanted(l layout, f camera.Format) bool {
	switch f {
	case camera.FormatMJPEG:
		return l.out == camera.MJPEG
	case camera.FormatYUYV:
		return l.out == camera.YUYV
	default:
		return true
	}
}

func noFormat(offered []fourCC, f camera.Format) error {
	var names []string
	usable := false
	for _, code := range offered {
		names = append(names, code.String())
		_, ok := layoutOf(code)
		usable = usable || ok
	}
	if len(names) == 0 {
		return fmt.Errorf("%w: it offers no format yet; a loopback device needs the program that feeds it first", camera.ErrNoData)
	}
	list := strings.Join(names, ", ")
	if usable {
		return settingErrorf("format %q is not what this camera has: it offers %s; expected format = \"auto\"", f, list)
	}
	return settingErrorf("this camera offers %s, expected one of MJPG, YUYV, UYVY, BGR3, RGB3, GREY; "+
		"try it through opencv: or gst:", list)
}

// nearest is the best that one pixel format can do.
func nearest(c catalog, l layout, cfg camera.Config) (mode, miss) {
	asked := mode{layout: l, width: cfg.Width, height: cfg.Height, interval: toInterval(cfg.FPS)}
	sizes := c.sizes(l.code)
	if len(sizes) == 0 {
		sizes = []sizeRange{{span{cfg.Width, cfg.Width, 0}, span{cfg.Height, cfg.Height, 0}}}
	}
	best, bestMiss := asked, miss{size: math.Inf(1)}
	for _, s := range sizes {
		m := asked
		m.width, m.height = s.width.near(cfg.Width), s.height.near(cfg.Height)
		missed := miss{size: sizeMiss(m.width, cfg.Width) + sizeMiss(m.height, cfg.Height)}
		if missed.size > bestMiss.size {
			continue // before the driver is asked for rates
		}
		m.interval, missed.rate = nearestRate(c.rates(l.code, m.width, m.height), asked.interval)
		if missed.less(bestMiss) {
			best, bestMiss = m, missed
		}
	}
	return best, bestMiss
}

func sizeMiss(got, want int) float64 { return math.Abs(float64(got-want)) / float64(want) }

// nearestRate is the interval on offer that is nearest to the asked one. Within
// one in a hundred (30 and 29.97 fps) it is the same.
func nearestRate(offers []rateRange, asked fraction) (fraction, float64) {
	best, bestMiss := asked, math.Inf(1)
	for _, r := range offers {
		got := asked
		switch {
		case !(r.shortest.seconds() > 0):
			continue
		case asked.seconds() <= r.shortest.seconds():
			got = r.shortest
		case asked.seconds() >= r.longest.seconds() && r.longest.seconds() > 0:
			got = r.longest
		}
		missed := math.Abs(math.Log(got.seconds() / asked.seconds()))
		if missed < 0.01 {
			missed = 0
		}
		if missed < bestMiss {
			best, bestMiss = got, missed
		}
	}
	if math.IsInf(bestMiss, 1) {
		return asked, 0 // the driver offers no rates; it will grant what it can
	}
	return best, bestMiss
}

// fraction is an interval in seconds, as the kernel writes it.
type fraction struct{ num, den uint32 }

// seconds is 0 for what is no interval.
func (f fraction) seconds() float64 {
	if f.den == 0 {
		return 0
	}
	return float64(f.num) / float64(f.den)
}

func (f fraction) duration() time.Duration { return time.Duration(f.seconds() * float64(time.Second)) }

// fps is 0 for what is no interval.
func (f fraction) fps() float64 {
	if f.num == 0 {
		return 0
	}
	return float64(f.den) / float64(f.num)
}

// toInterval is a rate of 0.1 to 1000 as drivers want it.
func toInterval(fps float64) fraction {
	if fps == math.Trunc(fps) {
		return fraction{1, uint32(fps)}
	}
	return fraction{1000, uint32(math.Round(fps * 1000))}
}
