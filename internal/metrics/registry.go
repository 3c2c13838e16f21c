package metrics

import (
	"fmt"
	"net/http"

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
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}, all...)
	for _, c := range all {
		if err := to.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return registry, nil
}

// Handler serves what is gathered. What cannot be gathered is left out.
func Handler(g prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(g, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxScrapes})
}
