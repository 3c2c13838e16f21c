package agent

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/redis/go-redis/v9"

	"framekeeper/internal/status"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/rpc"
)

// redisError is an error reply.
type redisError string

func (e redisError) Error() string { return string(e) }
func (redisError) RedisError()     {}

// A stream that is not there leaves the list empty; the end of a connection ends
// the worker.
func TestConsumerGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replies := []struct {
			groups []redis.XInfoGroup
			err    error
		}{
			{err: redisError("ERR no such key")},
			{groups: []redis.XInfoGroup{{Name: "archive", Consumers: 2, Pending: 3, LastDeliveredID: "7-1", Lag: 5}}},
			{err: context.DeadlineExceeded},
		}
		g := &consumerGroups{interval: time.Second}
		var seen []int
		n := 0
		err := g.run(t.Context(), func() ([]redis.XInfoGroup, error) {
			seen = append(seen, len(g.list()))
			n++
			return replies[n-1].groups, replies[n-1].err
		})
		if !errors.Is(err, context.DeadlineExceeded) || len(seen) != 3 || seen[1] != 0 || seen[2] != 1 {
			t.Errorf("got %v, lists of %v groups", err, seen)
		}
		if len(g.list()) != 1 {
			t.Fatal("no list")
		}
		if got := g.list()[0]; got.Name != "archive" || got.Consumers != 2 || got.Pending != 3 || got.Last != "7-1" || got.Lag != 5 {
			t.Errorf("got %+v", got)
		}
	})
}

// fixedStatistics are those of an agent that has lost its link and its disk.
func fixedStatistics() statistics {
	counts := &responderCounts{}
	counts.encoded.Store(2)
	counts.nanoseconds.Store(8e6)
	counts.failed[failMemory].Store(4)
	return statistics{
		Capture: func() camera.Health { return camera.Health{State: camera.StateOpening, Reason: "being opened"} },
		Latency: func() time.Duration { return 20 * time.Millisecond },
		Link: func() datatransfer.LinkStatus {
			return datatransfer.LinkStatus{
				State: datatransfer.Down, Since: time.Now(), Outages: 1, LastOutage: datatransfer.Outage{Cause: "refused", At: time.Now(), Lasted: 2 * time.Second},
			}
		},
		Requests: func() rpc.ServerStats { return rpc.ServerStats{Received: 9} },
		Replies:  counts,
		Frames:   func() outbox.Stats { return outbox.Stats{Sent: 3, Resent: 2} },
		Losses:   func() map[string]uint64 { return map[string]uint64{"memory_full": 6} },
		Stream:   func() outbox.StreamStatus { return outbox.StreamStatus{Reason: "no memory"} },
		Messages: func() (answers, frames outbox.LaneStats) {
			return outbox.LaneStats{Published: 1}, outbox.LaneStats{Published: 2}
		},
		Spool:       func() *status.Spool { return nil },
		Groups:      func() []status.ConsumerGroup { return []status.ConsumerGroup{} },
		MemoryLimit: 100,
	}
}

func TestStatusOfTheParts(t *testing.T) {
	s := fixedStatistics()
	b, err := json.Marshal(s.status(status.Agent{Camera: "cam1"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"camera":"cam1"`, `"link":{"state":"DOWN"`, `"losses":1`, `"last_loss":{"cause":"refused"`, `"lasted_s":2}`,
		`"capture":{"state":"opening","reason":"being opened","fps":0,"age_ms":-1`, `"writable":false,"reason":"no memory"`,
		`"groups":[]`, `"encoded":{"frames":2,"failed":0,"mean_ms":4}`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the status lacks %s: %s", want, b)
		}
	}
	if strings.Contains(string(b), `"spool"`) {
		t.Errorf("a spool that cannot be used is in the status: %s", b)
	}
}

func TestRegistryOfTheParts(t *testing.T) {
	s := fixedStatistics()
	registry, err := newRegistry("cam1", newMeters(s.Link), s)
	if err != nil {
		t.Fatal(err)
	}
	gathered, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	families := map[string]*dto.MetricFamily{}
	for _, f := range gathered {
		families[f.GetName()] = f
	}
	for _, c := range []struct {
		name, label string
		want        float64
	}{
		{"outbox_limit_bytes", "camera=cam1", 100},
		{"frames_added_total", "", 5},
		{"frames_lost_total", "reason=memory_full", 6},
		{"requests_total", "outcome=memory", 4},
		{"messages_published_total", "lane=frames", 2},
		{"link_state", "state=DOWN", 1},
		{"stream_writable", "", 0},
		{"spool_usable", "", 0},
	} {
		if got := value(t, families, c.name, c.label); got != c.want {
			t.Errorf("%s{%s}: got %v, want %v", c.name, c.label, got, c.want)
		}
	}
	for _, name := range []string{"spool_limit_bytes", "capture_frame_age_seconds"} {
		if families["framekeeper_"+name] != nil {
			t.Errorf("%s shows what is not there", name)
		}
	}
}
