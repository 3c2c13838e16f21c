package controller

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"framekeeper/internal/metrics"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

// boxOf is a box with real agents of so many cameras that send all the time.
func boxOf(t *testing.T, redisURL string, cameras int) setup {
	t.Helper()
	s := newSetup(t, redisURL, "")
	s.useRealAgent(t)
	text := fmt.Sprintf("state_dir = %q\n[redis]\nurl = %q\n[delivery]\nspool_dir = %q\n", s.state, redisURL, filepath.Join(s.dir, "spool")) +
		fmt.Sprintf("[controller]\nbox = \"box1\"\nlog_interval = \"200ms\"\nhttp = %q\nwatchdog_timeout = \"1m\"\n", s.http)
	for i := range cameras {
		text += fmt.Sprintf("[[camera]]\nname = \"cam%d\"\nsource = \"test:\"\nwidth = 64\nheight = 48\npublish_fps = 5\nstatus_interval = \"500ms\"\n", i+1)
	}
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// visit reads one of the controller's pages.
func (s setup) visit(t *testing.T, path string) (code int, body []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.http+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil // not there yet
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

// scraped is what a scrape gave, by name.
type scraped map[string]*dto.MetricFamily

func (s setup) scrape(t *testing.T) scraped {
	t.Helper()
	code, text := s.visit(t, "/metrics")
	if code != http.StatusOK {
		t.Fatalf("/metrics: got %d, %s", code, text)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// value is the sum of a family's metrics that bear all the labels; a histogram
// counts as many as it has seen.
func (f scraped) value(name string, labels ...string) (sum float64) {
	for _, m := range f[metrics.Prefix+name].GetMetric() {
		has := 0
		for _, l := range m.GetLabel() {
			if slices.Contains(labels, l.GetName()+"="+l.GetValue()) {
				has++
			}
		}
		if has == len(labels) {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

func TestMetricsOfTheBox(t *testing.T) {
	server := redistest.Start(t)
	s := boxOf(t, server.URL(), 4)
	s.begin(t)
	eventually(t, "a box that is ready", func() bool { code, _ := s.visit(t, "/readyz"); return code == http.StatusOK })
	eventually(t, "everybody's figures", func() bool {
		f := s.scrape(t)
		return f.value("agent_up") == 4 && f.value("frames_added_total", "camera=cam4") > 0 && f.value("controller_link_state", "state=LIVE") == 1
	})

	_, text := s.visit(t, "/metrics")
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	families := s.scrape(t)
	series := 0
	for _, f := range families {
		series += len(f.GetMetric())
	}
	times := make([]time.Duration, 20)
	for i := range times {
		began := time.Now()
		s.scrape(t)
		times[i] = time.Since(began)
	}
	slices.Sort(times)
	t.Logf("4 agents: %d families, %d metrics, %d bytes; scrape p50 %v, max %v", len(families), series, len(text), times[10], times[19])
	t.Run("queries", func(t *testing.T) { checkQueries(t, families) })
	t.Run("redis dies", func(t *testing.T) { killRedis(t, s, server) })
	t.Run("agent hangs", func(t *testing.T) { hangAgent(t, s) })
}

// killRedis wants each camera to tell of the outage. A busy machine may add
// outages of its own.
func killRedis(t *testing.T, s setup, server *redistest.Server) {
	before := s.scrape(t)
	grown := func(f scraped, name string, labels ...string) float64 {
		return f.value(name, labels...) - before.value(name, labels...)
	}
	all := func(f scraped, name string) bool {
		for i := range 4 {
			if grown(f, name, fmt.Sprintf("camera=cam%d", i+1)) < 1 {
				return false
			}
		}
		return true
	}
	server.Kill()
	eventually(t, "the outage in every camera's figures", func() bool {
		f := s.scrape(t)
		return f.value("link_state", "state=LIVE") == 0 && all(f, "link_losses_total") && f.value("spool_frames") > 0 &&
			grown(f, "link_detection_seconds") == grown(f, "link_losses_total")
	})
	eventually(t, "the reasons of link and cameras", func() bool {
		code, h := s.health(t)
		return code == http.StatusServiceUnavailable && len(h.Reasons) >= 5
	})
	if code, body := s.visit(t, "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: got %d, %s, want 200: the controller is well", code, body)
	}
	server.Restart()
	eventually(t, "the end of the outage in every camera's figures", func() bool {
		f := s.scrape(t)
		return f.value("link_state", "state=LIVE") == 4 && all(f, "link_outage_seconds") &&
			f.value("spool_frames") == 0 && f.value("frames_lost_total") == 0 && f.value("controller_link_outage_seconds") >= 1
	})
	if _, text := s.visit(t, "/metrics"); !regexp.MustCompile(`link_losses_total\{camera="cam1",cause="(closed|refused)"\} [1-9]`).Match(text) {
		t.Error("the loss has no cause closed or refused")
	}
}

func hangAgent(t *testing.T, s setup) {
	pid := s.awaitReady(t, 4).Agents["cam2"].PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	eventually(t, "a scrape that does not wait for an agent that hangs, and has the others' figures", func() bool {
		began := time.Now()
		f := s.scrape(t)
		took := time.Since(began)
		t.Logf("scrape with a hanging agent: %v", took)
		return took < 2*metrics.ScrapeLimit && f.value("agent_up", "camera=cam2") == 0 && f.value("agent_up") == 3 &&
			f.value("frames_added_total", "camera=cam2") == 0 && f.value("frames_added_total", "camera=cam1") > 0
	})
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the agent's figures again", func() bool { return s.scrape(t).value("agent_up") == 4 })
}

// A link that does nothing for longer than anything can take hangs.
func TestStuckLink(t *testing.T) {
	cfg := redisconn.Default()
	now := time.Now()
	for _, c := range []struct {
		idle  time.Duration
		stuck bool
	}{{time.Second, false}, {30 * time.Second, false}, {2 * time.Minute, true}} {
		if got := stuck(&cfg, datatransfer.LinkStatus{Moved: now.Add(-c.idle)}, now); (len(got) > 0) != c.stuck {
			t.Errorf("idle for %v: got %q, want stuck %v", c.idle, got, c.stuck)
		}
	}
}
