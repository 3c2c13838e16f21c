package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

// Link shows a link. Its Lost and Back are for the LinkConfig.
type Link struct {
	*Table
	losses            *prometheus.CounterVec
	detection, outage prometheus.Histogram
}

// NewLink makes the metrics of a link; their names begin with prefix (after
// Prefix).
func NewLink(prefix string, status func() datatransfer.LinkStatus) *Link {
	l := &Link{
		losses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: Prefix + prefix + "link_losses_total", Help: "Times the LIVE link to Redis was lost, by cause.",
		}, []string{"cause"}),
		detection: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: Prefix + prefix + "link_detection_seconds", Help: "How long nothing had arrived when a loss of the link was noticed.",
			Buckets: []float64{0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 3, 5, 10},
		}),
		outage: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: Prefix + prefix + "link_outage_seconds", Help: "How long the link's outages lasted, from a loss being noticed to LIVE again.",
			Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400},
		}),
	}
	for _, c := range redisconn.Causes() { // so that the first loss is a change and not a beginning
		l.losses.WithLabelValues(string(c))
	}
	l.Table = NewTable([]Row{
		{prefix + "link_state", "1 for the state of the link to Redis, 0 for the others.", []string{"state"}},
		{prefix + "link_state_changes_total", "Changes of the link's state.", nil},
		{prefix + "link_sessions_total", "Times the link became LIVE.", nil},
		{prefix + "link_failed_attempts", "Sessions tried in vain since the link was last LIVE.", nil},
		{prefix + "link_probe_seconds", "How long the last probe took to come back.", nil},
	}, func(v Values) {
		s := status()
		v.State(prefix+"link_state", s.State.String(), Names(datatransfer.States()))
		v.Set(prefix+"link_state_changes_total", float64(s.Changes))
		v.Set(prefix+"link_sessions_total", float64(s.Sessions))
		v.Set(prefix+"link_failed_attempts", float64(s.Attempts))
		if s.RTT > 0 {
			v.Set(prefix+"link_probe_seconds", s.RTT.Seconds())
		}
	})
	return l
}

// Lost counts a loss.
func (l *Link) Lost(x datatransfer.Outage) {
	l.losses.WithLabelValues(string(x.Cause)).Inc()
	l.detection.Observe(x.Silent.Seconds())
}

// Back counts the end of an outage.
func (l *Link) Back(x datatransfer.Outage) { l.outage.Observe(x.Lasted.Seconds()) }

// Describe is for the registry.
func (l *Link) Describe(ch chan<- *prometheus.Desc) {
	l.Table.Describe(ch)
	l.losses.Describe(ch)
	l.detection.Describe(ch)
	l.outage.Describe(ch)
}

// Collect is for the registry.
func (l *Link) Collect(ch chan<- prometheus.Metric) {
	l.Table.Collect(ch)
	l.losses.Collect(ch)
	l.detection.Collect(ch)
	l.outage.Collect(ch)
}
