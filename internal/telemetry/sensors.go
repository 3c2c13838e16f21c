package telemetry

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Where a Raspberry Pi's firmware reports whether it had to slow down: a file of
// some kernels, or a program.
const (
	throttledFile    = "/sys/devices/platform/soc/soc:firmware/get_throttled"
	throttledProgram = "vcgencmd"
)

// Throttled is what a Raspberry Pi's firmware says of its power and heat.
type Throttled struct {
	Flags     string   `json:"flags"`      // as the firmware has them, "0x50005"
	Now       []string `json:"now"`        // what is so
	SinceBoot []string `json:"since_boot"` // what has been so
}

// throttledWords are the flags' meanings, from bit 0 for now and from bit 16
// since the boot.
var throttledWords = [...]string{"under-voltage", "frequency capped", "throttled", "soft temperature limit"}

// ThrottledWords are what Throttled.Now and SinceBoot may hold.
func ThrottledWords() []string { return slices.Clone(throttledWords[:]) }

// throttled asks the firmware; nil where there is none to ask.
func throttled(ctx context.Context, r *readings, file, program string) *Throttled {
	if _, err := os.Stat(file); err == nil {
		if text := ask(ctx, r, file, func(context.Context) []byte { return orNil(os.ReadFile(file)) }); text != nil {
			return parseThrottled(text)
		}
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return nil
	}
	return parseThrottled(ask(ctx, r, program, func(ctx context.Context) []byte {
		cmd := exec.CommandContext(ctx, path, "get_throttled")
		cmd.WaitDelay = 100 * time.Millisecond
		return orNil(cmd.Output())
	}))
}

func orNil(text []byte, err error) []byte {
	if err != nil {
		return nil
	}
	return text
}

// parseThrottled reads "50005", "0x50005" or "throttled=0x50005".
func parseThrottled(text []byte) *Throttled {
	digits := strings.TrimSpace(string(text[:min(len(text), 64)]))
	digits = strings.TrimPrefix(strings.TrimPrefix(digits, "throttled="), "0x")
	flags, err := strconv.ParseUint(digits, 16, 32)
	if err != nil {
		return nil
	}
	t := &Throttled{Flags: fmt.Sprintf("%#x", flags), Now: []string{}, SinceBoot: []string{}}
	for bit, word := range throttledWords {
		if flags&(1<<bit) != 0 {
			t.Now = append(t.Now, word)
		}
		if flags&(1<<(16+bit)) != 0 {
			t.SinceBoot = append(t.SinceBoot, word)
		}
	}
	return t
}

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
