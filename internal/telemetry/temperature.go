package telemetry

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// thermalDir is where Linux lists its temperature sensors.
const thermalDir = "/sys/class/thermal"

// temperature is the highest sensible reading of the thermal zones in °C, or
// nil when there is none: many zones are declared and never measured, and say
// 0, -273 or thousands.
func temperature(ctx context.Context, r *readings, dir string) *float64 {
	files, _ := filepath.Glob(filepath.Join(dir, "thermal_zone*", "temp")) // fails only on a bad pattern
	var highest *float64
	for _, file := range files {
		zone := filepath.Base(filepath.Dir(file))
		c := ask(ctx, r, "temperature of "+zone, func(context.Context) *float64 { return degrees(file) })
		if c != nil && (highest == nil || *c > *highest) {
			highest = c
		}
	}
	return highest
}

// degrees is what one sensor says, nil if that makes no sense.
func degrees(file string) *float64 {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil // a zone may answer EAGAIN or vanish
	}
	milli, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return nil
	}
	c := float64(milli) / 1000
	if c <= -40 || c >= 150 || c == 0 {
		return nil
	}
	return rounded(c)
}
