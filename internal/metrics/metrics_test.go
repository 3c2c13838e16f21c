package metrics

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"framekeeper/internal/agentapi"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// agentSaying serves text as an agent's metrics; "" never answers.
func agentSaying(t *testing.T, text string) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "agent.sock")
	s, err := agentapi.Listen(t.Context(), socket, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	s.Handle("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		if text == "" {
			<-r.Context().Done()
		}
		_, _ = fmt.Fprint(w, text)
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return socket
}

// gathered is what a scrape shows: names with labels, and values.
func gathered(t *testing.T, sockets map[string]string, limit time.Duration) map[string]float64 {
	t.Helper()
	own := prometheus.NewRegistry()
	got, err := prometheus.Gatherers{own, &Agents{Sockets: func() map[string]string { return sockets }, Limit: limit}}.Gather()
	if err != nil {
		t.Errorf("gather: %v", err)
	}
	all := map[string]float64{}
	for _, f := range got {
		for _, m := range f.GetMetric() {
			all[f.GetName()+" "+labelled(m)] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return all
}

func frames(camera string, n int) string {
	return fmt.Sprintf("# HELP framekeeper_frames_total Frames.\n# TYPE framekeeper_frames_total counter\nframekeeper_frames_total{camera=%q} %d\n", camera, n)
}

// One agent that hangs, lies, babbles or is gone does not spoil the others.
func TestAgentsAreToldApart(t *testing.T) {
	const limit = 300 * time.Millisecond
	sockets := map[string]string{
		"good1":  agentSaying(t, frames("good1", 3)),
		"good2":  agentSaying(t, frames("good2", 4)),
		"hangs":  agentSaying(t, ""),
		"gone":   filepath.Join(t.TempDir(), "agent.sock"),
		"lies":   agentSaying(t, frames("good1", 99)),
		"noise":  agentSaying(t, "framekeeper_frames_total{camera=\"noise\" 1"),
		"nobody": agentSaying(t, "framekeeper_frames_total 1\n"),
		"floods": agentSaying(t, strings.Repeat("# x\n", maxFigures)),
		"other":  agentSaying(t, "# TYPE framekeeper_frames_total gauge\n"+`framekeeper_frames_total{camera="other"} 5`+"\n"),
	}
	began := time.Now()
	got := gathered(t, sockets, limit)
	if took := time.Since(began); took > 10*limit {
		t.Errorf("gathering took %v, want about %v", took, limit)
	}
	for camera := range sockets {
		up := 0.0
		if strings.HasPrefix(camera, "good") || camera == "other" {
			up = 1
		}
		if value, ok := got[AgentUp+" "+camera]; !ok || value != up {
			t.Errorf("%s: got up %v, %v, want %v", camera, value, ok, up)
		}
	}
	frames := 0.0
	for name, n := range got {
		if strings.HasPrefix(name, "framekeeper_frames_total") {
			frames += n
		}
	}
	if frames != 7 {
		t.Errorf("got %v frames, want the 7 of the two good agents: %v", frames, got)
	}
	if len(gathered(t, nil, limit)) != 0 {
		t.Error("a box without cameras has metrics of some")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(frames("cam1", 1)))
	f.Add([]byte("# TYPE a histogram\na_bucket{camera=\"cam1\",le=\"1\"} 1\na_sum{camera=\"cam1\"} 2\na_count{camera=\"cam1\"} 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		families, err := parse(text, "cam1")
		if err != nil {
			return
		}
		for name, family := range families {
			for _, m := range family.GetMetric() {
				if labelled(m) != "cam1" {
					t.Errorf("%s got in with camera %q", name, labelled(m))
				}
			}
		}
		_, _ = prometheus.Gatherers{said(families)}.Gather() // must not panic
	})
}

// said is a gatherer of what was parsed.
type said map[string]*dto.MetricFamily

func (s said) Gather() (all []*dto.MetricFamily, err error) {
	for _, f := range s {
		all = append(all, f)
	}
	return all, nil
}

func TestLinkMetrics(t *testing.T) {
	status := datatransfer.LinkStatus{State: datatransfer.Live, Changes: 3, Sessions: 1, RTT: time.Millisecond}
	link := NewLink("", func() datatransfer.LinkStatus { return status })
	link.Lost(datatransfer.Outage{Cause: redisconn.CauseFrozen, Silent: 1300 * time.Millisecond})
	link.Back(datatransfer.Outage{Lasted: 2 * time.Second})
	registry, err := NewRegistry(prometheus.Labels{"camera": "c"}, link)
	if err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			found[f.GetName()] += " " + m.String()
		}
	}
	for name, want := range map[string]string{
		"link_state": `value:"LIVE"} gauge:{value:1}`, "link_losses_total": `value:"frozen"} counter:{value:1`,
		"link_detection_seconds": "sample_count:1 sample_sum:1.3", "link_outage_seconds": "sample_count:1 sample_sum:2",
		"link_state_changes_total": "counter:{value:3}", "link_probe_seconds": "gauge:{value:0.001}",
	} {
		if got := strings.ReplaceAll(found[Prefix+name], "  ", " "); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s in it", name, got, want)
		}
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	if _, err := NewRegistry(nil, link, link); err == nil {
		t.Error("the same metrics twice: got no error")
	}
}

// A wrong label is an error of the scrape, not a panic.
func TestInvalidLabel(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(NewTable([]Row{{Name: "x", Help: "X.", Labels: []string{"l"}}}, func(v Values) { v.Set("x", 1, "\xff") }))
	if _, err := registry.Gather(); err == nil {
		t.Error("got no error for a label that is not UTF-8")
	}
}

func TestTheProcessShowsWhatIsItsOwn(t *testing.T) {
	registry, err := NewRegistry(prometheus.Labels{"camera": "cam"})
	if err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, f := range families {
		shown[f.GetName()] = true
		if strings.HasPrefix(f.GetName(), "process_network_") {
			t.Errorf("%s is shown, and counts the whole box", f.GetName())
		}
	}
	if !shown["process_resident_memory_bytes"] || !shown["go_goroutines"] {
		t.Errorf("memory and goroutines are not among %v", shown)
	}
}
