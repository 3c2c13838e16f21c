package controller

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"framekeeper/internal/metrics"
)

const monitoring = "../../monitoring"

// What dashboard and alerts ask for is there in a real scrape.
func checkQueries(t *testing.T, families scraped) {
	name := regexp.MustCompile(`\b(framekeeper|process|go)_\w+`)
	ending := regexp.MustCompile(`_(bucket|sum|count)$`)
	asked := map[string]bool{}
	for _, file := range []string{"dashboard.json", "alerts.yml"} {
		text, err := os.ReadFile(filepath.Join(monitoring, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range name.FindAllString(expressions(t, file, text), -1) {
			asked[q] = true
			if families[q] == nil && slices.ContainsFunc(boxFigures(), func(r metrics.Row) bool { return metrics.Prefix+r.Name == q && someHave(r.Name) }) {
				t.Logf("this box has no %s", q)
				continue
			}
			if families[q] == nil && families[ending.ReplaceAllString(q, "")].GetType() != dto.MetricType_HISTOGRAM {
				t.Errorf("%s asks for %s, which no scrape has", file, q)
			}
		}
	}
	if len(asked) < 30 {
		t.Errorf("found %d metrics in the queries, want most of them", len(asked))
	}
	for _, own := range []string{"agent_up", "link_state", "frames_lost_total", "spool_bytes", "request_seconds_bucket", "box_temperature_celsius"} {
		if !asked[metrics.Prefix+own] {
			t.Errorf("neither dashboard nor alerts look at %s", own)
		}
	}
}

// someHave names figures that not every box has: a sensor, a Raspberry Pi's
// firmware, a network, a Redis of its own.
func someHave(name string) bool {
	return regexp.MustCompile(`^(box_temperature|box_throttled|box_network|embedded_redis)_`).MatchString(name) || name == "box_throttled"
}

// expressions are a file's queries: the "expr" of JSON at any depth, or the
// whole of a file of rules, whose names have no such prefix.
func expressions(t *testing.T, file string, text []byte) string {
	if filepath.Ext(file) != ".json" {
		return string(text)
	}
	var all []string
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			for key, x := range v {
				if s, ok := x.(string); ok && (key == "expr" || key == "query") {
					all = append(all, s)
				}
				walk(x)
			}
		}
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	walk(v)
	return strings.Join(all, "\n")
}

// fetched is a program of Prometheus's; scripts/test.sh fetches it.
func fetched(t *testing.T, program string) string {
	t.Helper()
	cached, err := filepath.Abs("../../.cache/bin/" + program)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{cached, program} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing := program + " is missing: run scripts/test.sh once, or install Debian's package prometheus"
	if os.Getenv("CI") != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

func TestAlertRules(t *testing.T) {
	tool := fetched(t, "promtool")
	for _, args := range [][]string{
		{"check", "rules", "--lint=all", "--lint-fatal", "alerts.yml"},
		{"test", "rules", "alerts_test.yml"},
		{"check", "config", "--syntax-only", "prometheus.yml"},
	} {
		cmd := exec.CommandContext(t.Context(), tool, args...)
		cmd.Dir = monitoring
		text, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, text)
		}
		t.Logf("promtool %s: %s", strings.Join(args, " "), bytes.TrimSpace(text))
	}
}
