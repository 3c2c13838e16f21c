package controller

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"framekeeper/internal/metrics"
	"framekeeper/pkg/datatransfer"
)

// newMetrics makes the metrics of the box: the controller's own, and those of its
// agents, who are asked at each scrape. They outlive the parts that a reload
// replaces.
func newMetrics(r *reporter) (*metrics.Link, http.Handler, error) {
	link := metrics.NewLink("controller_", func() datatransfer.LinkStatus { return r.link.get().link.Status() })
	own, err := metrics.NewRegistry(nil, link, metrics.NewTable(boxFigures(), r.read))
	if err != nil {
		return nil, nil, fmt.Errorf("make metrics: %w", err)
	}
	return link, metrics.Handler(prometheus.Gatherers{own, &metrics.Agents{Sockets: r.sockets}}), nil
}
