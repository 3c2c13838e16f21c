package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// grid is an aligned table that is written at once.
type grid struct{ w *tabwriter.Writer }

func newGrid(out io.Writer, head ...string) grid {
	g := grid{tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)}
	g.row(head...)
	rule := make([]string, len(head))
	for i, h := range head {
		rule[i] = strings.Repeat("-", len([]rune(h)))
	}
	g.row(rule...)
	return g
}

func (g grid) row(cells ...string) { fmt.Fprintln(g.w, strings.Join(cells, "\t| ")) }
func (g grid) end()                { _ = g.w.Flush() }

// printMatrix prints all rows and what is wrong with them, and returns how many
// rows failed.
func printMatrix(out io.Writer, results []result, slack int) (failed int) {
	fmt.Fprintln(out, "Times in ms as p50/p99/worst; capture: lowest fps and largest gap during the fault (less what the machine stood still);")
	fmt.Fprintln(out, "frames: captured/delivered/declared/duplicates/undeclared.")
	g := newGrid(out, "fault", "reps", "detect", "LIVE after heal", "first answer", "drained", "capture", "frames", "budget", "verdict")
	var wrong []string
	for i := range results {
		res := &results[i]
		verdict := "kept"
		if res.Skipped != "" {
			verdict = "skipped"
			wrong = append(wrong, fmt.Sprintf("%s: skipped: %s", res.Name, res.Skipped))
		} else if problems := res.judge(slack); len(problems) > 0 {
			verdict = "MISSED"
			failed++
			for _, p := range problems {
				wrong = append(wrong, res.Name+": "+p)
			}
		}
		column := func(of func(sample) time.Duration) string { return spreadOf(res.Samples, of).String() }
		g.row(res.Name, fmt.Sprint(len(res.Samples)),
			column(func(s sample) time.Duration { return s.Detect }), column(func(s sample) time.Duration { return s.Live }),
			column(func(s sample) time.Duration { return s.Answer }), column(func(s sample) time.Duration { return s.Drained }),
			res.captureCell(), res.Ledger.String(), res.Budget.String(), verdict)
	}
	g.end()
	for _, line := range wrong {
		fmt.Fprintln(out, line)
	}
	return failed
}

func (res *result) captureCell() string {
	if res.Gap == never || len(res.Samples) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f fps, %s (%s)", res.FPS, ms(res.Gap), ms(res.OwnGap))
}

func (b budget) String() string {
	var parts []string
	if b.Detect > 0 {
		parts = append(parts, "detect "+ms(b.Detect))
	}
	switch {
	case b.LiveP50 > 0:
		parts = append(parts, "LIVE "+ms(b.LiveP50)+"/"+ms(b.Live))
	case b.Live > 0:
		parts = append(parts, "LIVE "+ms(b.Live))
	}
	return strings.Join(parts, ", ")
}

// writeJSON leaves the figures for other programs.
func writeJSON(file string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}
