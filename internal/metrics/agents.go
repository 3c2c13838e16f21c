package metrics

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"framekeeper/internal/agentapi"
)

const (
	// ScrapeLimit is how long all agents together may take to say their figures.
	ScrapeLimit = 2 * time.Second
	// maxFigures bounds the text of one agent: it is about 20 KB.
	maxFigures = 512 << 10
	// cameraLabel is on every metric of an agent.
	cameraLabel = "camera"
)

// Agents gathers the agents' own metrics over their sockets, all at the same
// time. One that does not answer within ScrapeLimit is framekeeper_agent_up 0.
// Any goroutine may use it.
type Agents struct {
	Sockets func() map[string]string // by the camera's name
	Limit   time.Duration            // 0: ScrapeLimit
}

// figures is what one agent said.
type figures struct {
	camera   string
	families map[string]*dto.MetricFamily
	took     time.Duration
	err      error
}

// Gather asks every agent. There is no error: what an agent did not say well is
// missing, and its framekeeper_agent_up is 0.
func (a *Agents) Gather() ([]*dto.MetricFamily, error) {
	limit := a.Limit
	if limit <= 0 {
		limit = ScrapeLimit
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	sockets := a.Sockets()
	said := make([]figures, len(sockets))
	var asking sync.WaitGroup
	for i, camera := range slices.Sorted(maps.Keys(sockets)) {
		asking.Go(func() { said[i] = ask(ctx, camera, sockets[camera]) })
	}
	asking.Wait()
	all := map[string]*dto.MetricFamily{}
	for _, f := range said {
		add(all, f.families)
		add(all, f.own())
	}
	return slices.Collect(maps.Values(all)), nil
}

// ask reads one agent's figures.
func ask(ctx context.Context, camera, socket string) figures {
	began := time.Now()
	f := figures{camera: camera}
	text, err := agentapi.Client{Path: socket}.Get(ctx, "/metrics", maxFigures)
	if err == nil {
		f.families, err = parse(text, camera)
	}
	f.took, f.err = time.Since(began), err
	return f
}

// parse reads an exposition, and takes only metrics that are the camera's: no
// agent speaks for another.
func parse(text []byte, camera string) (map[string]*dto.MetricFamily, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read metrics of %s: %w", camera, err)
	}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			if labelled(m) != camera {
				return nil, fmt.Errorf("read metrics of %s: %s is of camera %q", camera, name, labelled(m))
			}
		}
	}
	return families, nil
}

func labelled(m *dto.Metric) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == cameraLabel {
			return l.GetValue()
		}
	}
	return ""
}

// add joins families of the same name and type. What an agent of another version
// gives another type is left out.
func add(to, from map[string]*dto.MetricFamily) {
	for name, f := range from {
		have, ok := to[name]
		if !ok {
			to[name] = f
			continue
		}
		if have.GetType() == f.GetType() {
			have.Metric = append(have.Metric, f.GetMetric()...)
		}
	}
}

// own is what the asking itself has shown.
func (f *figures) own() map[string]*dto.MetricFamily {
	up := 0.0
	if f.err == nil {
		up = 1
	}
	return map[string]*dto.MetricFamily{
		AgentUp:     f.gauge(AgentUp, "1 if the agent said its figures over its socket in time, 0 if not: it does not run, hangs, or cannot write state_dir.", up),
		AgentScrape: f.gauge(AgentScrape, "How long asking the agent for its figures took.", f.took.Seconds()),
	}
}

// What Agents itself adds.
const (
	AgentUp     = Prefix + "agent_up"
	AgentScrape = Prefix + "agent_scrape_seconds"
)

func (f *figures) gauge(name, help string, value float64) *dto.MetricFamily {
	label, kind := cameraLabel, dto.MetricType_GAUGE
	return &dto.MetricFamily{
		Name: &name, Help: &help, Type: &kind,
		Metric: []*dto.Metric{{Label: []*dto.LabelPair{{Name: &label, Value: &f.camera}}, Gauge: &dto.Gauge{Value: &value}}},
	}
}
