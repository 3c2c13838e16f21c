package web

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"framekeeper/internal/status"
	"framekeeper/internal/telemetry"
	"framekeeper/internal/text"
)

type figure struct{ Name, Value string }

// cameraFigures are those of one camera and its agent.
func (r *Report) cameraFigures(name string, now time.Time) []figure {
	i := slices.IndexFunc(r.Agents, func(p status.Process) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	p, usage, lasts := &r.Agents[i], usageOf(r.Telemetry, name), "for"
	var link, capture, answers, silent string
	if !p.Silent.IsZero() { // its last count of frames would pass for a live one
		usage.FPS, silent = nil, text.Lasting(now.Sub(p.Silent))+" ago"
	}
	if p.State == status.ProcessRunning { // else what was last seen of it is over
		lasts = "running for"
		if a := r.Reported(p); a != nil {
			link, capture = a.Link.State, string(a.Capture.State)
			if a.AnswerMS > 0 {
				answers = label(a.AnswerMS, "ms")
			}
		}
	}
	return known([]figure{
		{"last sign of life", silent},
		{"frames/s", number(usage.FPS, "")},
		{"restarts", strconv.Itoa(p.Restarts)},
		{"restarts after a hang", some(p.Hangs)},
		{"failures in a row", some(p.Failures)},
		{lasts, text.Lasting(now.Sub(p.Since))},
		{"link", link},
		{"capture", capture},
		{"answers in", answers},
		{"CPU", number(usage.CPU, "%")},
		{"memory", mebibytes(usage.RSS)},
		{"pid", some(p.PID)},
	})
}

// usageOf is what an agent was last measured to need; all nil if it was not.
func usageOf(s *telemetry.Sample, name string) telemetry.AgentSample {
	if s == nil || s.Agents[name].PID == 0 {
		return telemetry.AgentSample{}
	}
	return s.Agents[name]
}

func boxFigures(s *telemetry.Sample) []figure {
	if s == nil {
		return nil
	}
	all := []figure{
		{"CPU", cmp.Or(number(s.CPU, "%"), "unknown")},
		{"temperature", cmp.Or(number(s.Temperature, "°C"), "unknown")},
		{"memory", cmp.Or(number(s.Memory, "%"), "unknown")},
		{"disk", cmp.Or(number(s.Disk, "%"), "unknown")},
	}
	if s.UptimeS != nil {
		all = append(all, figure{"up for", text.Lasting(time.Duration(*s.UptimeS * float64(time.Second)))})
	}
	if len(s.Hanging) > 0 {
		all = append(all, figure{"does not answer", strings.Join(s.Hanging, ", ")})
	}
	if s.Throttled != nil && len(s.Throttled.Now) > 0 {
		all = append(all, figure{"firmware warns of", strings.Join(s.Throttled.Now, ", ")})
	}
	return all
}

// known drops figures without a value.
func known(all []figure) []figure {
	return slices.DeleteFunc(all, func(f figure) bool { return f.Value == "" })
}

// some is "" for none.
func some(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func number(v *float64, unit string) string {
	if v == nil {
		return ""
	}
	return strings.TrimSpace(fmt.Sprintf("%.1f %s", *v, unit))
}

func mebibytes(v *uint64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.1f MiB", float64(*v)/(1<<20))
}
