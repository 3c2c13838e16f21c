package controller

import (
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"framekeeper/internal/agentapi"
	"framekeeper/internal/metrics"
	"framekeeper/pkg/datatransfer"
)

// meters are the controller's metrics. They outlive the parts that a new
// configuration replaces.
type meters struct {
	link    *metrics.Link
	handler http.Handler
}

// measure makes the metrics of the box: the controller's own, and those of its
// agents, who are asked at each scrape.
func (b *box) measure() error {
	link := metrics.NewLink("controller_", b.linkStatus)
	own, err := metrics.NewRegistry(nil, link, metrics.NewTable(boxFigures(), b.read))
	if err != nil {
		return fmt.Errorf("show figures: %w", err)
	}
	b.meters = meters{link: link, handler: metrics.Handler(prometheus.Gatherers{own, &metrics.Agents{Sockets: b.sockets}})}
	return nil
}

// linkStatus is the link of the present configuration.
func (b *box) linkStatus() datatransfer.LinkStatus {
	b.mu.Lock()
	link := b.parts.link
	b.mu.Unlock()
	return link.Status()
}

// sockets are where the agents of the box can be asked.
func (b *box) sockets() map[string]string {
	b.mu.Lock()
	dir := b.cfg.StateDir
	b.mu.Unlock()
	all := map[string]string{}
	for _, a := range b.supervisor.Agents() {
		all[a.Name] = agentapi.Path(dir, a.Name)
	}
	return all
}

// linkPatience is how much longer than its own timeouts together the link may
// take for anything.
const linkPatience = 30 * time.Second

// stuck names what of the controller itself does not go on. A supervisor that
// hangs is not among it: then there is no answer at all.
func (b *box) stuck(s datatransfer.LinkStatus, now time.Time) []string {
	b.mu.Lock()
	r := b.cfg.Redis
	b.mu.Unlock()
	limit := r.DialTimeout + r.IOTimeout + r.CheckInterval + r.CheckTimeout + r.BackoffMax + linkPatience
	if idle := now.Sub(s.Moved); idle > limit {
		return []string{fmt.Sprintf("the link to Redis has not moved for %v", idle.Round(time.Second))}
	}
	return nil
}
