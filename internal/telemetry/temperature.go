package telemetry

import (
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
func temperature(dir string) *float64 {
	files, _ := filepath.Glob(filepath.Join(dir, "thermal_zone*", "temp")) // fails only on a bad pattern
	var highest *float64
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // a zone may answer EAGAIN or vanish
		}
		milli, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		if err != nil {
			continue
		}
		c := float64(milli) / 1000
		if sensible := c > -40 && c < 150 && c != 0; sensible && (highest == nil || c > *highest) {
			highest = rounded(c)
		}
	}
	return highest
}
