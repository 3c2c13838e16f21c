package camera

import (
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// inside runs the rows on a real device and prints what they measured.
func inside(t *testing.T, device string) {
	w := newWorld(t, device)
	t.Run("faults", w.faults)
	if !testing.Short() {
		t.Run("images", w.images)
		t.Run("hotplug", w.hotplug)
		t.Run("programs", w.programs)
		t.Run("loopback", w.passthrough)
	}
	t.Log("\n" + table(w.outcomes))
}

// never stands for what did not happen and was not meant to.
const never = time.Duration(-1)

// outcome is a line of the table.
type outcome struct {
	name                     string
	notice                   time.Duration // from before the fault is asked for until the status shows it
	recover                  time.Duration // from then, or from the heal, until a new frame is there
	refused                  int           // requests answered with an error meanwhile
	slowest                  time.Duration // of those
	skipped, broken, reopens uint64
	note                     string
}

func (w *world) record(o outcome) { w.outcomes = append(w.outcomes, o) }

func table(outcomes []outcome) string {
	var b strings.Builder
	out := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	fmt.Fprintln(out, "Times in ms. notice: from before v4l2-ctl starts; recover: from there, or from the end of the fault, to the")
	fmt.Fprintln(out, "first new frame; refused: requests answered with the reason meanwhile, and the slowest of these answers.")
	for _, cells := range [][]string{
		{"fault", "notice", "recover", "refused", "slowest", "skipped", "broken", "reopens", "the status"},
		{"-----", "------", "-------", "-------", "-------", "-------", "------", "-------", "--------------------"},
	} {
		fmt.Fprintln(out, strings.Join(cells, "\t| "))
	}
	for _, o := range outcomes {
		fmt.Fprintln(out, strings.Join([]string{
			o.name, ms(o.notice), ms(o.recover), fmt.Sprint(o.refused), ms(o.slowest),
			fmt.Sprint(o.skipped), fmt.Sprint(o.broken), fmt.Sprint(o.reopens), o.note,
		}, "\t| "))
	}
	_ = out.Flush() // to memory
	return b.String()
}

func ms(d time.Duration) string {
	if d == never {
		return "-"
	}
	return fmt.Sprint(d.Milliseconds())
}
