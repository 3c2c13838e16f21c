package telemetry

import (
	"context"
	"fmt"
	"os"
	"os/exec"
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
