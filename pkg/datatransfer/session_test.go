package datatransfer

import (
	"context"
	"strings"
	"testing"
	"time"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
)

// A worker that Redis refuses at once ends each session right after it became
// LIVE. That is one outage, not seven a second.
func TestASessionThatNeverLastsIsToldOnce(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server, master := redistest.Start(t), redistest.Start(t)
	h := listen(t, testkit.Unhurried(server.URL()), func(c *LinkConfig) {
		c.Workers = []Worker{{Name: "write", Run: func(ctx context.Context, s *Session) error {
			for ctx.Err() == nil {
				if err := s.Data().Set(ctx, "key", "value", 0).Err(); err != nil {
					return err
				}
				select {
				case <-time.After(10 * time.Millisecond):
				case <-ctx.Done():
				}
			}
			return nil
		}}}
	})
	h.waitLive(t)
	server.ReplicaOf(master)
	testkit.Eventually(t, "several sessions have ended", func() bool { return h.Status().Outages >= 8 })
	got := h.log.Messages()
	for _, m := range []string{msgLost, msgAttempting} {
		if n := testkit.Count(got, m); n != 1 {
			t.Errorf("%q was logged %d times during one outage, want once", m, n)
		}
	}
	early := testkit.Count(got, msgReconnected)
	if early > 1 { // the first one looks like any other return
		t.Errorf("%q was logged %d times though no session lasted", msgReconnected, early)
	}
	server.Promote()
	testkit.Eventually(t, "the end of the outage is logged", func() bool { return testkit.Count(h.log.Messages(), msgReconnected) == early+1 })
	if !strings.Contains(h.log.String(), `"cause":"read-only"`) {
		t.Errorf("the log does not name the cause:\n%s", h.log)
	}
}
