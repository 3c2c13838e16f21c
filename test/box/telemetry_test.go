package box

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"framekeeper/internal/telemetry"
	"framekeeper/internal/testkit/redistest"
)

// TestTelemetryOfAnOutage: what was measured while Redis was down comes
// afterwards, in order, each with its own time.
func TestTelemetryOfAnOutage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	text := strings.NewReplacer("URL", server.URL(), "USER", "", "TLS", "", `password_file = "DIR/password"`, "").Replace(plainBox)
	b := newBox(t, text)
	controller := b.start("controller")
	b.awaitHealthy()
	server.Kill()
	killed := time.Now()
	b.await("an outage of 15 samples", func() bool { return time.Since(killed) > 3*time.Second && !b.health().Link.Live })
	controller.signal(syscall.SIGSTOP) // so that nothing is published before somebody listens
	server.Restart()
	sub := listen(t, server, "box1_log")
	controller.signal(syscall.SIGCONT)

	var last time.Time
	during := 0
	for last.Before(killed.Add(3 * time.Second)) {
		m, err := sub.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var s telemetry.Sample
		if err := json.Unmarshal([]byte(m.Payload), &s); err != nil {
			t.Fatalf("%v in %s", err, m.Payload)
		}
		at := time.UnixMicro(s.TimeUS)
		if !at.After(last) {
			t.Errorf("got a sample of %v after one of %v", at, last)
		}
		if at.After(killed) && at.Before(killed.Add(3*time.Second)) {
			during++
		}
		if a := s.Agents["cam1"]; a.State == "running" && a.FPS != nil && *a.FPS < 5 {
			t.Errorf("got %v fps, want about 30", *a.FPS)
		}
		last = at
	}
	t.Logf("%d samples of the outage", during)
	if during < 8 { // of 15, on a busy machine
		t.Errorf("got %d samples of the outage, want about 15", during)
	}
}
