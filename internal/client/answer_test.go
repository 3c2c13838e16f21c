package client

import (
	"strings"
	"testing"
	"time"
)

// Nobody listens between two lives of an agent, and the status of the one before
// says why.
func TestRequestReportsTheAgentsLastStatus(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	for name, c := range map[string]struct{ status, want string }{
		"gave up": {`{"source":"rtsp://u:secret@h","link":{"state":"LIVE"},"capture":{"state":"ended","reason":"camera abandoned\n\u001b[2J: no such device"},"writable":true}`,
			"capture is ended: camera abandoned\ufffd\ufffd[2J: no such device"},
		"all of it": {`{"link":{"state":"DOWN"},"capture":{"state":"ok"},"writable":false,"reason":"full"}`,
			"its link to Redis is DOWN; Redis does not accept its frames: full"},
		"well":         {`{"link":{"state":"LIVE"},"capture":{"state":"ok"},"writable":true}`, ""},
		"not a status": {`nonsense`, "its status cannot be read"},
		"endless":      {`{"link":{"state":"LIVE"},"capture":{"state":"ended","reason":"` + strings.Repeat("ü", 5000) + `"}}`, "capture is ended: " + strings.Repeat("ü", maxWhy-1-len("capture is ended: ")) + "…"},
	} {
		if err := b.redis.Client().Set(t.Context(), "status:greencam1", c.status, 10*time.Second).Err(); err != nil {
			t.Fatal(err)
		}
		err := b.client(t.Context(), "request", "--timeout", "300ms")
		if err == nil {
			t.Fatalf("%s: there is no agent, and no error", name)
		}
		reason, said, _ := strings.Cut(err.Error(), "; it reported ")
		if want := "no answer within 300ms: no cam-agent listens for greencam1 on request/greencam1"; reason != want {
			t.Errorf("%s: got %q, want %q", name, reason, want)
		}
		if _, said, _ = strings.Cut(said, " ago: "); said != c.want {
			t.Errorf("%s: it reported %q, want %q", name, said, c.want)
		}
	}
}
