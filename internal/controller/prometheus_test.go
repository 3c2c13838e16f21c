package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"framekeeper/internal/testkit/proctest"
	"framekeeper/internal/testkit/redistest"
)

// How often the Prometheus of the tests looks, and what Grafana would make of
// $__rate_interval then. Rules look as far back as ruleWindow.
const (
	scrapeInterval = 500 * time.Millisecond
	rateInterval   = "4s"
	ruleWindow     = "5s"
)

// watcher is a real Prometheus with our configuration.
type watcher struct {
	t     *testing.T
	addr  string
	began time.Time
}

// startPrometheus watches the boxes, and itself as a stranger among them.
func startPrometheus(t *testing.T, boxes ...string) *watcher {
	t.Helper()
	program := fetched(t, "prometheus")
	dir := t.TempDir()
	w := &watcher{t: t, addr: redistest.FreeAddr(t), began: time.Now()}
	config := edited(t, "prometheus.yml", [][2]string{
		{`scrape_interval: 15s`, fmt.Sprintf("scrape_interval: %v\n  evaluation_interval: %v", scrapeInterval, scrapeInterval)},
		{`scrape_timeout: \w+`, fmt.Sprintf("scrape_timeout: %v", scrapeInterval)}, // not more than the interval
		{`targets: \[.*\]`, `targets: ["` + strings.Join(boxes, `", "`) + `"]`},
	}) + fmt.Sprintf("  - job_name: prometheus\n    static_configs:\n      - targets: [%q]\n", w.addr)
	// What a minute's patience proves, a second's does too.
	rules := edited(t, "alerts.yml", [][2]string{{`(?m)^        for: \w+$`, "        for: 1s"}, {`\[\d+[mh]\]`, "[" + ruleWindow + "]"}})
	for name, text := range map[string]string{"prometheus.yml": config, "alerts.yml": rules} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := proctest.Spawn(dir, nil, program, "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address="+w.addr, "--log.level=warn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.End(syscall.SIGTERM); err != nil || t.Failed() {
			t.Logf("prometheus: %v\n%s", err, p.Said())
		}
	})
	eventually(t, "Prometheus to be ready", func() bool {
		code, err := w.get("/-/ready", nil, nil)
		return err == nil && code == http.StatusOK
	})
	return w
}

// edited is a file of ours with patterns replaced, each of which is there.
func edited(t *testing.T, name string, changes [][2]string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(monitoring, name))
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, c := range changes {
		pattern := regexp.MustCompile(c[0])
		if !pattern.MatchString(text) {
			t.Fatalf("%s has no %s to replace", name, c[0])
		}
		text = pattern.ReplaceAllString(text, c[1])
	}
	return text
}

// get asks Prometheus; answer, if not nil, takes what stands in data.
func (w *watcher) get(path string, args url.Values, answer any) (int, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.t.Context()), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.addr+path+"?"+args.Encode(), nil)
	if err != nil {
		return 0, fmt.Errorf("ask prometheus: %w", err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("ask prometheus: %w", err)
	}
	defer resp.Body.Close()
	if answer == nil {
		return resp.StatusCode, nil
	}
	said := struct {
		Status, Error string
		Warnings      []string
		Data          any
	}{Data: answer}
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
		return resp.StatusCode, fmt.Errorf("read what prometheus says: %w", err)
	}
	if said.Status != "success" || len(said.Warnings) > 0 {
		return resp.StatusCode, fmt.Errorf("prometheus says %s: %s%q", said.Status, said.Error, said.Warnings)
	}
	return resp.StatusCode, nil
}

// series is one line of a graph.
type series struct {
	Labels map[string]string `json:"metric"`
	Value  *point            `json:"value"`
	Values []point           `json:"values"`
}

// point is a value at a time, as Prometheus writes it: [1435781451.781, "1"].
type point struct {
	at    float64
	value float64
}

func (p *point) UnmarshalJSON(text []byte) error {
	var value string
	if err := json.Unmarshal(text, &[2]any{&p.at, &value}); err != nil {
		return fmt.Errorf("read point: %w", err)
	}
	var err error
	p.value, err = strconv.ParseFloat(value, 64)
	return err
}

// now is the value of an expression at this moment.
func (w *watcher) now(expr string) ([]series, error) {
	var answer struct{ Result []series }
	_, err := w.get("/api/v1/query", url.Values{"query": {expr}}, &answer)
	for i := range answer.Result {
		answer.Result[i].Values = []point{*answer.Result[i].Value}
	}
	return answer.Result, err
}

// since is the graph of an expression, from the watcher's beginning.
func (w *watcher) since(expr string) ([]series, error) {
	var answer struct{ Result []series }
	_, err := w.get("/api/v1/query_range", url.Values{
		"query": {expr}, "step": {"0.5"},
		"start": {strconv.FormatInt(w.began.Unix(), 10)}, "end": {strconv.FormatInt(time.Now().Unix()+1, 10)},
	}, &answer)
	return answer.Result, err
}

// numbers are the values that are some.
func (s *series) numbers() (all []float64) {
	for _, p := range s.Values {
		if !math.IsNaN(p.value) {
			all = append(all, p.value)
		}
	}
	return all
}

// alert is one that fires or may soon.
type alert struct {
	Labels, Annotations map[string]string
	State               string
}

func (a *alert) String() string {
	return strings.TrimSpace(strings.TrimPrefix(a.Labels["alertname"], "Framekeeper") + " " + a.Labels["camera"])
}

func (w *watcher) alerts() []alert {
	var answer struct{ Alerts []alert }
	if _, err := w.get("/api/v1/alerts", nil, &answer); err != nil {
		w.t.Fatal(err)
	}
	return answer.Alerts
}
