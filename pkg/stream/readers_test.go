package stream

import (
	"fmt"
	"testing"
	"time"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/linktest"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

// Connections close when a session ends, and everybody on them fails. What
// counts is why it ended.
func TestTheFirstCauseCounts(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	cfg := testkit.Fast(server.URL())
	cfg.CheckTimeout = 150 * time.Millisecond
	h := linktest.Listen(t, cfg, func(c *datatransfer.LinkConfig) {
		for i := range 4 { // blocked in a read when it happens
			c.Workers = append(c.Workers, NewConsumer(ConsumerConfig{Key: fmt.Sprint("frames:", i), FromStart: true}).Worker())
		}
	})
	for i := range 8 {
		h.AwaitLive(t)
		before := h.Status().Outages
		server.Freeze()
		testkit.Eventually(t, "the freeze is noticed", func() bool { return h.Status().Outages > before })
		server.Thaw()
		if got := h.Status().LastOutage; got.Cause != redisconn.CauseFrozen {
			t.Errorf("freeze %d was taken for %q, want %q", i, got.Cause, redisconn.CauseFrozen)
		}
	}
}

// A client follows many cameras on one link; each consumer holds a connection.
func TestManyWorkersLeaveRoomForTheProbe(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	cfg := testkit.Fast(server.URL())
	cfg.CheckTimeout = 1500 * time.Millisecond // longer than a busy machine makes a probe late
	h := linktest.Listen(t, cfg, func(c *datatransfer.LinkConfig) {
		for i := range 12 {
			c.Workers = append(c.Workers, NewConsumer(ConsumerConfig{Key: fmt.Sprint("frames:", i), FromStart: true}).Worker())
		}
	})
	h.AwaitLive(t)
	time.Sleep(2500 * time.Millisecond) // idle: nothing arrives that would excuse the probe
	if s := h.Status(); s.Outages != 0 || s.State != datatransfer.Live {
		t.Errorf("an idle link with 12 consumers: %+v, want LIVE without a loss; log:\n%s", s, h.Log)
	}
}
