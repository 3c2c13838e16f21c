package main

import (
	"fmt"
	"time"
)

// cyclesMode kills and restarts Redis again and again under 30 frames and 10
// requests a second.
func (o *options) cyclesMode() error {
	const interval = time.Second / cameraFPS
	f := killRows()[0]
	f.name, f.hold = "killed and restarted", 200*time.Millisecond
	o.repsFast, o.short = o.cycles, false
	res := o.repeat(f)
	wrong := res.judge(1)
	if res.OwnGap >= 2*interval {
		wrong = append(wrong, fmt.Sprintf("capture paused for %s ms, two frame intervals are %s", ms(res.OwnGap), ms(2*interval)))
	}
	times := func(of func(sample) time.Duration) string { return spreadOf(res.Samples, of).String() }
	fmt.Fprintf(o.out, "%d restarts of Redis under %d fps and %d requests a second; times in ms after Redis accepts, p50/p99/worst\n",
		len(res.Samples), cameraFPS, time.Second/askEvery)
	fmt.Fprintf(o.out, "noticed after the kill  %s\n", times(func(s sample) time.Duration { return s.Detect }))
	fmt.Fprintf(o.out, "LIVE                    %s\n", times(func(s sample) time.Duration { return s.Live }))
	fmt.Fprintf(o.out, "first answered request  %s\n", times(func(s sample) time.Duration { return s.Answer }))
	fmt.Fprintf(o.out, "backlog out             %s\n", times(func(s sample) time.Duration { return s.Drained }))
	fmt.Fprintf(o.out, "capture                 lowest %.1f fps, largest gap %s ms, %s ms = %.2f frame intervals without what the machine stood still\n",
		res.FPS, ms(res.Gap), ms(res.OwnGap), float64(res.OwnGap)/float64(interval))
	fmt.Fprintf(o.out, "frames                  %d captured, %d delivered, %d declared, %d duplicates, %d undeclared\n",
		res.Ledger.Captured, res.Ledger.Delivered, res.Ledger.Declared, res.Ledger.Duplicates, res.Ledger.Undeclared)
	return o.finish(res, wrong)
}

// finish writes the figures and turns what is wrong into an error.
func (o *options) finish(figures any, wrong []string) error {
	if o.json != "" {
		if err := writeJSON(o.json, figures); err != nil {
			return err
		}
	}
	for _, w := range wrong {
		fmt.Fprintln(o.out, "MISSED:", w)
	}
	if len(wrong) > 0 {
		return fmt.Errorf("-mode %s: %d budgets missed", o.mode, len(wrong))
	}
	return o.ctx.Err()
}
