package agent

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"framekeeper/internal/agentapi"
	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/datatransfer"
)

// scrape asks the agent that runs with this configuration.
func scrape(t *testing.T, config string) (text []byte, families map[string]*dto.MetricFamily) {
	t.Helper()
	path := agentapi.Path(filepath.Join(filepath.Dir(config), "state"), "greencam1")
	text, err := agentapi.Client{Path: path}.Get(t.Context(), "/metrics", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	if families, err = parser.TextToMetricFamilies(bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	return text, families
}

// value is the one metric of a family that bears label=value, or the only one.
func value(t *testing.T, families map[string]*dto.MetricFamily, name, label string) float64 {
	t.Helper()
	for _, m := range families["framekeeper_"+name].GetMetric() {
		found := label == ""
		for _, l := range m.GetLabel() {
			found = found || l.GetName()+"="+l.GetValue() == label
		}
		switch {
		case !found:
		case m.GetHistogram() != nil:
			return float64(m.GetHistogram().GetSampleCount())
		default:
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	t.Fatalf("%s{%s} is not among the metrics", name, label)
	return 0
}

func TestMetricsOfAnAgent(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	config := writeConfig(t, server.URL(), "", tiny+"request_timeout = \"10s\"\nsource_latency = \"20ms\"")
	startAgent(t, config)
	host := newAsker(t, server.URL())
	for range 3 {
		host.ask(t, map[string]any{"id": "same"}) // one answer, two repeats
	}
	host.ask(t, map[string]any{"angle": 25})
	server.Client().Publish(t.Context(), "request/greencam1", "nonsense")

	text, families := []byte(nil), map[string]*dto.MetricFamily(nil)
	testkit.Eventually(t, "metrics of two answers", func() bool {
		text, families = scrape(t, config)
		return value(t, families, "frames_added_total", "") == 2 && value(t, families, "requests_total", "outcome=malformed") == 1
	})
	for _, c := range []struct {
		name, label string
		want        float64
	}{
		{"requests_total", "outcome=answered", 2},
		{"requests_total", "outcome=repeated", 2},
		{"requests_total", "outcome=timeout", 0},
		{"requests_received_total", "", 5},
		{"request_seconds", "", 2},
		{"encode_seconds", "", 2},
		{"frames_numbered_total", "", 2},
		{"frames_lost_total", "reason=memory_full", 0},
		{"link_state", "state=LIVE", 1},
		{"link_state", "state=DOWN", 0},
		{"link_sessions_total", "", 1},
		{"capture_state", "state=ok", 1},
		{"capture_latency_seconds", "", 0.02},
		{"stream_writable", "", 1},
		{"spool_usable", "", 1},
		{"spool_limit_bytes", "", 1 << 30},
	} {
		if got := value(t, families, c.name, c.label); got != c.want {
			t.Errorf("%s{%s}: got %v, want %v", c.name, c.label, got, c.want)
		}
	}
	if value(t, families, "capture_frames_total", "") == 0 {
		t.Error("no frames captured")
	}
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			if !strings.Contains(m.String(), `value:"greencam1"`) {
				t.Errorf("%s lacks the label of its camera", name)
			}
		}
	}
	t.Logf("%d families, %d bytes", len(families), len(text))
}

// Reading allocates, writing must not: it is done for each frame.
func TestMetersDoNotAllocate(t *testing.T) {
	var counts responderCounts
	m := newMeters(func() datatransfer.LinkStatus { return datatransfer.LinkStatus{} })
	if n := testing.AllocsPerRun(1000, func() {
		m.encode.Observe(0.003)
		m.request.Observe(0.03)
		counts.failed[failTimeout].Add(1)
	}); n != 0 {
		t.Errorf("got %v allocations for a frame, want none", n)
	}
}

// The alert on slow answers allows for a quantile that its bucket makes twice as
// large as it is.
func TestSlowAnswersAreMeasuredFinely(t *testing.T) {
	m := newMeters(func() datatransfer.LinkStatus { return datatransfer.LinkStatus{} })
	var got dto.Metric
	if err := m.request.Write(&got); err != nil {
		t.Fatal(err)
	}
	last := 0.0
	for _, b := range got.GetHistogram().GetBucket() {
		if bound := b.GetUpperBound(); last >= 0.5 && bound > 2*last {
			t.Errorf("got a bucket from %v s to %v s, want at most twice as far", last, bound)
		}
		last = b.GetUpperBound()
	}
	if last < 16 {
		t.Errorf("got buckets to %v s, want them beyond the wait for a frame in ten seconds", last)
	}
}

// The cost of the instruments beside that of a frame: see bench for the latter.
func BenchmarkMeters(b *testing.B) {
	m := newMeters(func() datatransfer.LinkStatus { return datatransfer.LinkStatus{} })
	for b.Loop() {
		m.encode.Observe(0.003)
		m.request.Observe(0.03)
	}
}
