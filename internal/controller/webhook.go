package controller

import (
	"context"

	"framekeeper/internal/metrics"
	webhook "framekeeper/internal/notify"
)

// webhookPart has events sent to where [notify] wants them.
type webhookPart struct{ sender *webhook.Sender }

func (p *webhookPart) prepare(_ context.Context, c *change) (func() error, error) {
	target, err := c.next.Notify.Target(c.next.Controller.Box)
	return func() error { p.sender.Use(target); return nil }, err
}

// newWebhookMetrics shows what has become of events for the receiver.
func newWebhookMetrics(counts func() (sent, dropped uint64)) *metrics.Table {
	return metrics.NewTable([]metrics.Row{
		{Name: "notify_sent_total", Help: "Events that the receiver of [notify] has taken."},
		{Name: "notify_dropped_total", Help: "Events that were given up: too many waited, or one for too long."},
	}, func(v metrics.Values) {
		sent, dropped := counts()
		v.Set("notify_sent_total", float64(sent))
		v.Set("notify_dropped_total", float64(dropped))
	})
}
