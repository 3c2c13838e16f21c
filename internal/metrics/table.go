// Package metrics turns what the programs know of themselves into Prometheus
// metrics. It promises that a scrape reads what is there already (only
// histograms are written to beside the work, without locks), that names follow
// Prometheus's conventions, that labels come from tables and configurations and
// never from outside, and that agents which do not answer neither hang a scrape
// nor spoil the others' figures. Agent and controller are its callers.
//
// Why counters of lost frames stand beside the statistics: a counter must never
// fall, and a frame given up may be read back after all. An agent that ends
// again and again shows its gauges only between two ends, so an alert that waits
// must rest on what the controller counts. What belongs to the whole box stands
// once among the controller's figures, under our prefix, because a box may have
// no node_exporter, and one that has it names these its own way.
package metrics

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Prefix begins the name of every metric of ours.
const Prefix = "framekeeper_"

// Row names one metric, without Prefix. One that ends in _total is a counter,
// any other a gauge.
type Row struct {
	Name, Help string
	Labels     []string
}

// Table collects metrics whose values are read when they are asked for.
type Table struct {
	rows map[string]row
	read func(Values)
}

type row struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

// NewTable makes a collector. read is called for each scrape, at times for two
// at once.
func NewTable(rows []Row, read func(Values)) *Table {
	t := &Table{rows: make(map[string]row, len(rows)), read: read}
	for _, r := range rows {
		kind := prometheus.GaugeValue
		if strings.HasSuffix(r.Name, "_total") {
			kind = prometheus.CounterValue
		}
		t.rows[r.Name] = row{prometheus.NewDesc(Prefix+r.Name, r.Help, r.Labels, nil), kind}
	}
	return t
}

// Describe is for the registry.
func (t *Table) Describe(ch chan<- *prometheus.Desc) {
	for _, r := range t.rows {
		ch <- r.desc
	}
}

// Collect is for the registry.
func (t *Table) Collect(ch chan<- prometheus.Metric) { t.read(Values{t.rows, ch}) }

// Values takes the values of one scrape.
type Values struct {
	rows map[string]row
	ch   chan<- prometheus.Metric
}

// Set gives a metric of the table its value; labels are those of its Row, in
// order.
func (v Values) Set(name string, value float64, labels ...string) {
	r := v.rows[name]
	m, err := prometheus.NewConstMetric(r.desc, r.kind, value, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(r.desc, err)
	}
	v.ch <- m
}

// Flag sets a metric to 1 or 0.
func (v Values) Flag(name string, is bool, labels ...string) {
	value := 0.0
	if is {
		value = 1
	}
	v.Set(name, value, labels...)
}

// State sets a metric whose last label is a state: 1 for the present one, 0 for
// all others.
func (v Values) State(name, now string, all []string, labels ...string) {
	for _, s := range all {
		v.Flag(name, s == now, append(labels[:len(labels):len(labels)], s)...)
	}
}

// Some sets a metric that could be measured, and leaves out one that could not.
func (v Values) Some(name string, value *float64, unit float64, labels ...string) {
	if value != nil {
		v.Set(name, *value*unit, labels...)
	}
}

// Names are the states of a table, as labels.
func Names[T any](states []T) []string {
	names := make([]string, len(states))
	for i, s := range states {
		names[i] = fmt.Sprint(s)
	}
	return names
}

// maxScrapes is how many scrapes may be under way at once: more than one
// Prometheus, and somebody with a browser.
const maxScrapes = 4

// NewRegistry makes a registry that shows the process itself (memory, CPU,
// descriptors, goroutines) and what is given. All its metrics bear the labels.
func NewRegistry(labels prometheus.Labels, all ...prometheus.Collector) (*prometheus.Registry, error) {
	registry := prometheus.NewRegistry()
	to := prometheus.WrapRegistererWith(labels, registry)
	all = append([]prometheus.Collector{
		// Reading the memory statistics would stop the program for a moment.
		collectors.NewGoCollector(collectors.WithGoCollectorMemStatsMetricsDisabled()),
		ownProcess{collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})},
	}, all...)
	for _, c := range all {
		if err := to.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return registry, nil
}

// ownProcess is a process collector without the network's bytes: those are of
// the whole box, and would stand there once for each program.
type ownProcess struct{ prometheus.Collector }

func (p ownProcess) Collect(out chan<- prometheus.Metric) {
	all := make(chan prometheus.Metric)
	go func() {
		defer close(all)
		p.Collector.Collect(all)
	}()
	for m := range all {
		if !strings.Contains(m.Desc().String(), `"process_network_`) {
			out <- m
		}
	}
}

// Handler serves what is gathered. What cannot be gathered is left out.
func Handler(g prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(g, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxScrapes})
}
