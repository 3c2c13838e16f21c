package main

import (
	"fmt"
	"slices"
	"time"
)

// result is one finished row.
type result struct {
	Name     string        `json:"fault"`
	Skipped  string        `json:"skipped,omitempty"` // why it could not be shown
	Samples  []sample      `json:"samples"`
	FPS      float64       `json:"capture_fps"` // the lowest of all repetitions
	Gap      time.Duration `json:"capture_gap"` // the largest of all repetitions; Never if not looked at
	OwnGap   time.Duration `json:"own_gap"`     // the largest, less what the machine stood still in it
	Ledger   ledger        `json:"ledger"`
	Budget   budget        `json:"budget"`
	Problems []string      `json:"problems,omitempty"`

	fault *fault
}

func (res *result) sawCapture(fps float64, gap, still time.Duration) {
	if res.Gap == never || fps < res.FPS {
		res.FPS = fps
	}
	res.Gap, res.OwnGap = max(res.Gap, gap), max(res.OwnGap, gap-still)
}

// leastForP50 is how many repetitions make a median: recovery times lie evenly
// between none and the longest backoff, and one of them says nothing.
const leastForP50 = 5

// leastFPS is what capture must reach during every fault.
const leastFPS = 0.9 * cameraFPS

// judge lists everything that is wrong with the row. slack widens the times.
func (res *result) judge(slack int) []string {
	wrong := slices.Clone(res.Problems)
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	over := func(what string, got, most time.Duration) {
		if most *= time.Duration(slack); most > 0 && got > most {
			complain("%s %s, budget %s", what, ms(got), ms(most))
		}
	}
	if len(res.Samples) > 0 {
		detect, live := spreadOf(res.Samples, func(s sample) time.Duration { return s.Detect }), spreadOf(res.Samples, func(s sample) time.Duration { return s.Live })
		over("detect p99", detect.p99, res.Budget.Detect)
		if len(res.Samples) >= leastForP50 {
			over("LIVE p50", live.p50, res.Budget.LiveP50)
		}
		over("LIVE p99", live.p99, res.Budget.Live)
	}
	if res.Ledger.Undeclared > 0 {
		complain("%d frames are missing undeclared", res.Ledger.Undeclared)
	}
	if res.Ledger.Duplicates > 0 {
		complain("%d duplicates", res.Ledger.Duplicates)
	}
	if res.Gap != never && res.FPS*float64(slack) < leastFPS {
		complain("capture fell to %.1f fps", res.FPS)
	}
	return wrong
}

// spread is how a time lies over the repetitions.
type spread struct{ p50, p99, worst time.Duration }

// spreadOf leaves out what never happened.
func spreadOf[T any](samples []T, of func(T) time.Duration) spread {
	var all []time.Duration
	for _, s := range samples {
		if d := of(s); d != never {
			all = append(all, d)
		}
	}
	return spreadOfTimes(all)
}

func spreadOfTimes(all []time.Duration) spread {
	if len(all) == 0 {
		return spread{never, never, never}
	}
	all = slices.Sorted(slices.Values(all))
	return spread{rank(all, 50), rank(all, 99), all[len(all)-1]}
}

// rank is the nearest-rank percentile of sorted times.
func rank(sorted []time.Duration, percent int) time.Duration {
	n := (len(sorted)*percent + 99) / 100
	return sorted[max(n, 1)-1]
}

func (s spread) String() string {
	if s.p50 == never {
		return "-"
	}
	return ms(s.p50) + "/" + ms(s.p99) + "/" + ms(s.worst)
}

// ms prints a time in milliseconds, with a decimal where that says something.
func ms(d time.Duration) string {
	switch {
	case d == never:
		return "-"
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f", d.Seconds()*1e3)
	default:
		return fmt.Sprintf("%.0f", d.Seconds()*1e3)
	}
}
