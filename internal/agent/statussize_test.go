package agent

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"framekeeper/internal/status"
	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
)

// Whoever reads a stream makes consumer groups, of any name and number. The status shows
// some of them, and stays one that every Redis accepts.
func TestTheStatusStaysOneThatRedisAccepts(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t, redistest.WithConfig("proto-max-bulk-len", "1048576"), redistest.WithConfig("client-query-buffer-limit", "1048576"))
	for i := range maxGroups + 50 {
		server.Do("XGROUP", "CREATE", "frames:greencam1", fmt.Sprintf("%03d%s", i, strings.Repeat("\"", 20_000)), "0", "MKSTREAM")
	}
	_, log := startAgent(t, writeConfig(t, server.URL(), "", tiny+"status_interval = \"200ms\"\n"))
	var seen status.Agent
	testkit.Eventually(t, "a status with consumer groups", func() bool {
		reply, err := server.TryDo("GET", "status:greencam1")
		text, _ := reply.(string)
		return err == nil && json.Unmarshal([]byte(text), &seen) == nil && len(seen.Groups) > 0
	})
	newAsker(t, server.URL()).ask(t, map[string]any{"angle": 25})
	if seen.Link.Outages > 0 || len(seen.Groups) != maxGroups {
		t.Errorf("%d outages, %d groups, want none and %d", seen.Link.Outages, len(seen.Groups), maxGroups)
	}
	if n := strings.Count(log.String(), "The stream has more consumer groups than the status shows"); n != 1 {
		t.Errorf("that they are too many was logged %d times", n)
	}
}
