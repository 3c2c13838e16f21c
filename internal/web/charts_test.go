package web

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"framekeeper/internal/status"
	"framekeeper/internal/telemetry"
)

// anHour is a history with a gap of ten minutes, which began an hour ago.
func anHour(cameras ...string) *telemetry.History {
	now := time.Now()
	h := telemetry.NewHistory(now.Add(-time.Hour))
	for i := range telemetry.HistorySlots - 1 {
		if i > 60 && i < 80 {
			continue
		}
		f := func(v float64) *float64 { return &v }
		wave := math.Sin(float64(i) / 9)
		s := telemetry.Sample{CPU: f(35 + 20*wave), Temperature: f(55 + 4*wave), Memory: f(62), Disk: f(81.5), Agents: map[string]telemetry.AgentSample{}}
		for _, c := range cameras {
			a := telemetry.AgentSample{FPS: f(29.5 + wave/2)}
			if i%30 > 20 {
				a.LatencyMS = f(41 + 8*wave)
			}
			s.Agents[c] = a
		}
		h.Add(&s, now.Add(time.Duration(i-telemetry.HistorySlots+2)*telemetry.HistorySlot), 5*time.Second)
	}
	return h
}

func TestChart(t *testing.T) {
	values := make([]float64, telemetry.HistorySlots)
	for i := range values {
		values[i] = math.NaN()
	}
	values[10], values[11], values[13], values[118] = 20, 41, 39.5, 12
	end := time.Date(2026, 11, 30, 16, 40, 0, 0, time.Local)
	c := plot{"Answers", "latency", "ms", 10}.draw("cam1-latency", values, end)
	if c.Line != "M71.1 56.0h0L73.3 22.4M77.7 24.8h0M308.7 68.8h0" {
		t.Errorf("the line is %s", c.Line)
	}
	if c.Now != "12 ms" || c.Summary != "In the last hour from 12 ms to 41 ms, not known for 58 min" {
		t.Errorf("got %q, %q", c.Now, c.Summary)
	}
	if got := fmt.Sprint(c.Rows, c.Columns); got != "[{88 0 ms} {48 25 ms} {8 50 ms}] [{70 15:45} {136 16:00} {202 16:15} {268 16:30}]" {
		t.Errorf("the grid is %s", got)
	}
	if got := fmt.Sprint(quarters(end.Add(5 * time.Minute))); got != "[{48 15:45} {114 16:00} {180 16:15} {246 16:30}]" {
		t.Errorf("an hour from a quarter on has %s", got)
	}
	if got := fmt.Sprint(quarters(end.Add(6 * time.Minute))); got != "[{109.6 16:00} {175.6 16:15} {241.6 16:30} {307.6 }]" {
		t.Errorf("the last label stands out: %s", got)
	}
	for v, want := range map[float64]float64{0.3: 0.5, 1: 1, 10.1: 20, 99: 100, 100: 100, 101: 200} {
		if got := scaleEnd(v); math.Abs(got-want) > 1e-9 {
			t.Errorf("a scale for %v ends at %v, want %v", v, got, want)
		}
	}
}

// Charts in a browser: on each screen and in each colour scheme, and none that are too
// many.
func TestChartsInABrowser(t *testing.T) {
	ctx := browser(t)
	b, box, s := newTab(ctx, t), newBoard(), newStudio("cam1")
	s.tick()
	s.run(t, 5)
	history := anHour("cam1")
	box.change(func(r *Report) { r.History = history })
	url := serve(t, Config{Report: box.report, Cameras: s})
	for _, width := range []int64{320, 390, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			b.scheme(scheme)
			b.do(chromedp.EmulateViewport(width, 844), chromedp.Navigate(url))
			b.until("all charts", `document.querySelectorAll(".chart svg[role=img] path.line").length === 6 && `+pictureShown)
			if got := ask[int64](b, "document.documentElement.scrollWidth"); got > width {
				t.Errorf("%d wide, %s: the page is %d wide", width, scheme, got)
			}
			// Labels of eight pixels and more, within the drawing, none over another.
			bad := ask[[]string](b, `[...document.querySelectorAll(".chart")].flatMap((f) => {
				const all = [...f.querySelectorAll("text")].map((e) => [e.textContent, e.getBoundingClientRect()]), whole = f.querySelector("svg").getBoundingClientRect();
				return all.filter(([, r], i) => r.height < 10 || r.left < whole.left || r.right > whole.right + 1 || r.bottom > whole.bottom + 1 ||
					all.some(([, o], j) => j !== i && o.left < r.right && r.left < o.right && o.top < r.bottom - 3 && r.top < o.bottom - 3)).map(([t]) => t);
			})`)
			if len(bad) > 0 {
				t.Errorf("%d wide, %s: labels that cannot be read: %q", width, scheme, bad)
			}
			if got := ask[bool](b, `getComputedStyle(document.querySelector(".chart .line")).stroke === getComputedStyle(document.body).color`); !got {
				t.Errorf("%s: the line does not have the text's colour", scheme)
			}
			b.shoot(fmt.Sprintf("charts-%d-%s", width, scheme))
		}
	}
	b.quiet()
	box.change(func(r *Report) {
		r.History = history
		for i := range maxCharted {
			r.Agents = append(r.Agents, status.Process{Name: fmt.Sprintf("more%d", i)})
		}
	})
	if _, page := get(t, "GET", url+"/", "", ""); strings.Count(page, "<svg viewBox") != 4 {
		t.Errorf("many cameras: got %d charts, want those of the box", strings.Count(page, "<svg viewBox"))
	}
}
