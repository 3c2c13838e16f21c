package web

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"framekeeper/internal/telemetry"
	"framekeeper/internal/text"
)

// maxCharted is for how many cameras a page has charts: those of hundreds would be
// megabytes at each refreshment.
const maxCharted = 16

// What a chart measures, in units of its own drawing: the plot and the room for labels.
const (
	chartWidth, chartHeight = 320.0, 112.0
	plotLeft, plotTop       = 48.0, 8.0
	plotWidth, plotHeight   = chartWidth - plotLeft - 8, 80.0
)

// chart is the last hour of one figure as its template wants it: a drawing that takes
// its colours from the page.
type chart struct {
	ID, Title, Unit string
	Now             string // the newest value with its unit; "" if there is none
	Summary         string // for who does not see the drawing
	Line            string // a path, interrupted where nothing was measured
	Rows, Columns   []tick
}

// tick is a labelled line of the grid.
type tick struct {
	At    float64
	Label string
}

// plot is which figure is charted, and how.
type plot struct {
	title, figure, unit string
	least               float64 // the scale's end at least; percentages have all of it
}

// boxCharts are those of the box.
func (r *Report) boxCharts(now time.Time) []chart {
	return r.charts("", now, []plot{
		{"CPU", "cpu", "%", 100}, {"Temperature", "temperature", "°C", 60}, {"Memory", "memory", "%", 100}, {"Disk", "disk", "%", 100},
	})
}

// cameraCharts are those of a camera.
func (r *Report) cameraCharts(name string, now time.Time) []chart {
	if len(r.Agents) > maxCharted {
		return nil
	}
	return r.charts(name, now, []plot{{"Frames per second", "fps", "/s", 5}, {"Answers to requests", "latency", "ms", 10}})
}

// charts leaves out figures without any value.
func (r *Report) charts(camera string, now time.Time, plots []plot) (all []chart) {
	if r.History == nil {
		return nil
	}
	for _, p := range plots {
		values, end := r.History.Values(telemetry.Series{Camera: camera, Figure: p.figure}, now)
		if slices.ContainsFunc(values, func(v float64) bool { return !math.IsNaN(v) }) {
			all = append(all, p.draw(strings.Trim(camera+"-"+p.figure, "-"), values, end))
		}
	}
	return all
}

// draw draws values, of which there is at least one. end is when the last one's slot
// ends.
func (p plot) draw(id string, values []float64, end time.Time) chart {
	known := slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	top := scaleEnd(max(slices.Max(known), p.least))
	c := chart{ID: "chart-" + id, Title: p.title, Unit: p.unit, Line: line(values, top), Columns: quarters(end)}
	for _, part := range []float64{0, 0.5, 1} {
		c.Rows = append(c.Rows, tick{plotTop + plotHeight*(1-part), label(top*part, p.unit)})
	}
	c.Summary = fmt.Sprintf("In the last hour from %s to %s", label(slices.Min(known), p.unit), label(slices.Max(known), p.unit))
	if missing := len(values) - len(known); missing > 0 {
		c.Summary += ", not known for " + text.Lasting(time.Duration(missing)*telemetry.HistorySlot)
	}
	if last := values[len(values)-1]; !math.IsNaN(last) {
		c.Now = label(last, p.unit)
	} else if last := values[len(values)-2]; !math.IsNaN(last) { // this slot has only begun
		c.Now = label(last, p.unit)
	}
	return c
}

// scaleEnd is the next of 1, 2, 5, 10, 20, 50…
func scaleEnd(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 2, 5, 10} {
		if v <= step*power {
			return step * power
		}
	}
	return 10 * power
}

// label is a value with its unit; seconds for thousands of milliseconds.
func label(v float64, unit string) string {
	if unit == "ms" && v >= 1000 {
		v, unit = v/1000, "s"
	}
	digits := 0
	if v != math.Trunc(v) && v < 100 {
		digits = 1
	}
	return fmt.Sprintf("%.*f %s", digits, v, unit)
}

// line is the path of the values. Where one is missing it is interrupted; one between
// two that are missing is a dot.
func line(values []float64, top float64) string {
	var b strings.Builder
	drawn := false
	for i, v := range values {
		if math.IsNaN(v) {
			drawn = false
			continue
		}
		x := plotLeft + plotWidth*(float64(i)+0.5)/float64(len(values))
		y := plotTop + plotHeight*(1-min(max(v/top, 0), 1))
		switch {
		case drawn:
			fmt.Fprintf(&b, "L%.1f %.1f", x, y)
		default:
			fmt.Fprintf(&b, "M%.1f %.1fh0", x, y)
		}
		drawn = true
	}
	return b.String()
}

// quarters are the quarters of an hour in the hour that ends then, by the box's clock.
func quarters(end time.Time) (all []tick) {
	const span = time.Duration(telemetry.HistorySlots) * telemetry.HistorySlot
	end = end.Round(0) // the wall clock
	begin := end.Add(-span)
	for at := begin.Truncate(15 * time.Minute); at.Before(end); at = at.Add(15 * time.Minute) {
		x := plotLeft + plotWidth*float64(at.Sub(begin))/float64(span)
		switch {
		case x < plotLeft:
		case x > chartWidth-18: // its label would stand out of the drawing
			all = append(all, tick{At: math.Round(x*10) / 10})
		default:
			all = append(all, tick{math.Round(x*10) / 10, at.Format("15:04")})
		}
	}
	return all
}
