package controller

import (
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"testing"
)

// checkVariables has Grafana's label_values carried out.
func (w *watched) checkVariables(t *testing.T, d *dashboard) {
	for _, want := range []struct {
		name   string
		values []string
	}{
		{"instance", []string{w.one.http, w.two.http}},
		{"camera", []string{"cam1", "cam2", "feed"}},
	} {
		i := slices.IndexFunc(d.Templating.List, func(v variable) bool { return v.Name == want.name })
		parts := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`).FindStringSubmatch(d.Templating.List[i].Definition)
		if parts == nil {
			t.Fatalf("%s: %q is not label_values", want.name, d.Templating.List[i].Definition)
		}
		var got []string
		if _, err := w.get("/api/v1/label/"+parts[2]+"/values", url.Values{"match[]": {asked(parts[1], "")}}, &got); err != nil {
			t.Errorf("%s: %v", want.name, err)
		}
		slices.Sort(want.values)
		if !slices.Equal(got, want.values) {
			t.Errorf("%s: got %q, want %q", want.name, got, want.values)
		}
	}
}

// checkPanel looks at what Grafana would show.
func (w *watched) checkPanel(t *testing.T, p *panel) {
	names := map[string]bool{}
	for _, q := range p.Targets {
		ask := w.since
		if q.Instant {
			ask = w.now
		}
		all, err := ask(asked(q.Expr, rateInterval))
		if err != nil {
			t.Errorf("%s: %v", q.Expr, err)
			continue
		}
		shown := 0
		for i := range all {
			s := &all[i]
			name, err := legend(q.LegendFormat, s.Labels)
			if err != nil || names[name] {
				t.Errorf("%s: %v is the legend of several: %q, %v", q.Expr, s.Labels, name, err)
			}
			names[name] = true
			if job := s.Labels["job"]; job != "" && job != "framekeeper" {
				t.Errorf("%s shows somebody else: %v", q.Expr, s.Labels)
			}
			numbers := s.numbers()
			shown += len(numbers)
			w.checkValues(t, p, name, numbers)
			t.Logf("%-40s %s", name, summary(numbers))
		}
		if shown == 0 {
			w.mayBeEmpty(t, q.Expr)
		}
	}
}

// mayBeEmpty excuses what this machine does not have.
func (w *watched) mayBeEmpty(t *testing.T, expr string) {
	for _, name := range []string{"framekeeper_box_temperature_celsius", "framekeeper_box_network_"} {
		if regexp.MustCompile(name).MatchString(expr) && len(w.one.scrape(t).like(name)) == 0 {
			t.Logf("this machine has no %s", name)
			return
		}
	}
	t.Errorf("no answer to %s", expr)
}

// like are the names that begin so.
func (f scraped) like(prefix string) (names []string) {
	for name := range f {
		if len(name) >= len(prefix) && name[:len(prefix)] == prefix {
			names = append(names, name)
		}
	}
	return names
}

// limits are what values of a unit can be here.
func limits(unit string) (low, high float64) {
	switch unit {
	case "percentunit":
		return 0, 1.05 // a spool is over its bound for a moment
	case "s":
		return 0, 100
	case "celsius":
		return -40, 150
	case "bytes":
		return 1 << 20, 1 << 30
	case "":
		return 0, 1
	}
	return 0, 1e9
}

func (w *watched) checkValues(t *testing.T, p *panel, name string, numbers []float64) {
	low, high := limits(p.FieldConfig.Defaults.Unit)
	for _, v := range numbers {
		if math.IsInf(v, 0) || v < low || v > high {
			t.Errorf("%s: %s is %v, want %v to %v %s", p.Title, name, v, low, high, p.FieldConfig.Defaults.Unit)
			return
		}
	}
	middle := median(numbers)
	if p.Title == "Frames a second" && name == w.one.http+" cam2" && (middle < watchedRate/2 || middle > watchedRate*3/2) {
		t.Errorf("%s sends %v frames a second, want about %d", name, middle, watchedRate)
	}
	for title, want := range map[string]float64{"Boxes down": 1, "Cameras ready": 3, "Cameras not ready": 0, "Alerts": 1} {
		if p.Title == title && (len(numbers) != 1 || numbers[0] != want) {
			t.Errorf("%s: got %v, want %v", title, numbers, want)
		}
	}
	// Away, its agent ends again and again, and has no state for most of the time.
	if p.Title == "Capture" && name == w.one.http+" feed" && !slices.Contains(numbers, 0) {
		t.Errorf("%s: %s was taken away, and this does not show", p.Title, name)
	}
	if slices.Contains([]string{"Frames lost (24 h)", "Links lost (24 h)", "Restarts (24 h)"}, p.Title) && (len(numbers) != 1 || numbers[0] < 1) {
		t.Errorf("%s: got %v, want some", p.Title, numbers)
	}
}

func median(numbers []float64) float64 {
	if len(numbers) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(numbers))
	return sorted[len(sorted)/2]
}

func summary(numbers []float64) string {
	if len(numbers) == 0 {
		return "no number"
	}
	return fmt.Sprintf("%d values, %.4g to %.4g, median %.4g", len(numbers), slices.Min(numbers), slices.Max(numbers), median(numbers))
}
