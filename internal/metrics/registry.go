package metrics

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

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
