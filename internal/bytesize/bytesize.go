// Package bytesize reads and writes sizes such as "64MiB" in the configuration.
// It promises that what String writes Parse reads as the same size, and refuses
// negative sizes and those beyond an int64. Every package may use it.
package bytesize

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes.
type Size int64

// The units Parse knows.
const (
	KiB Size = 1 << (10 * (iota + 1))
	MiB
	GiB
	TiB
)

var units = []struct {
	suffix string
	size   Size
}{ // longest suffix first, so that "B" does not swallow "KiB"
	{"KiB", KiB}, {"MiB", MiB}, {"GiB", GiB}, {"TiB", TiB},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"B", 1}, {"", 1},
}

// Parse reads a whole or decimal number followed by B, kB, MB, GB, TB, KiB,
// MiB, GiB or TiB; a bare number means bytes.
func Parse(s string) (Size, error) {
	text := strings.TrimSpace(s)
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		if size, ok := multiply(strings.TrimSpace(number), u.size); ok {
			return size, nil
		}
		break
	}
	return 0, fmt.Errorf("%q is not a size, expected a number and a unit such as 64MiB or 1GiB", s)
}

// multiply keeps whole numbers out of floating point, which would round large ones.
func multiply(number string, unit Size) (Size, bool) {
	if strings.Trim(number, "0123456789.") != "" {
		return 0, false // the signs, exponents and names that strconv would take
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		return Size(n) * unit, n <= math.MaxInt64/int64(unit)
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f*float64(unit) >= math.MaxInt64 {
		return 0, false
	}
	return Size(f * float64(unit)), true
}

// UnmarshalText reads the form Parse knows.
func (s *Size) UnmarshalText(b []byte) error {
	v, err := Parse(string(b))
	if err == nil {
		*s = v
	}
	return err
}

// MarshalText writes what String does.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String uses the largest binary unit that divides the size without remainder.
func (s Size) String() string {
	for _, u := range []struct {
		suffix string
		size   Size
	}{{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}} {
		if s != 0 && s%u.size == 0 {
			return fmt.Sprintf("%d%s", s/u.size, u.suffix)
		}
	}
	return fmt.Sprintf("%dB", int64(s))
}
