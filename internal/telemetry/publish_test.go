package telemetry

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/testkit/proctest"
	"framekeeper/internal/testkit/redistest"
)

// publishing runs a publisher with a sampler whose samples the test makes.
func publishing(t *testing.T, server *redistest.Server, format string) (give func(*Sample), log *proctest.Output, ended <-chan error) {
	t.Helper()
	log = &proctest.Output{}
	s := NewSampler(Config{Interval: time.Hour})
	p := &Publisher{Backlog: s.cfg.Backlog, Topic: "box1_log", Format: format, Log: zerolog.New(log)}
	ctx, cancel := context.WithCancel(context.Background())
	client := server.Client()
	result, done := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		result <- p.Run(ctx, client)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return s.publish, log, result
}

func TestPublishesToTheTopic(t *testing.T) {
	server := redistest.Start(t)
	sub := server.Client().Subscribe(t.Context(), "box1_log")
	defer sub.Close()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	give, _, _ := publishing(t, server, "json")
	give(&Sample{Box: "box1", CPU: ptr(7)})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	m, err := sub.ReceiveMessage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var got Sample
	if err := json.Unmarshal([]byte(m.Payload), &got); err != nil || got.Box != "box1" || show(got.CPU) != "7" {
		t.Errorf("got %s (%v), want box1 with cpu 7", m.Payload, err)
	}
}

func TestRefusalIsLoggedOnceAndOutlived(t *testing.T) {
	server := redistest.Start(t)
	give, log, ended := publishing(t, server, "list")
	server.Do("ACL", "SETUSER", "default", "-publish")
	for strings.Count(log.String(), "refuses telemetry") == 0 {
		give(&Sample{})
		time.Sleep(5 * time.Millisecond)
	}
	for range 20 {
		give(&Sample{})
		time.Sleep(5 * time.Millisecond)
	}
	server.Do("ACL", "SETUSER", "default", "+publish")
	for deadline := time.Now().Add(10 * time.Second); strings.Count(log.String(), "published again") == 0; {
		if time.Now().After(deadline) {
			t.Fatal("not published within 10 s after permission returned")
		}
		give(&Sample{})
		time.Sleep(5 * time.Millisecond)
	}
	if got := strings.Count(log.String(), "refuses telemetry"); got != 1 {
		t.Errorf("the refusal was logged %d times, want once", got)
	}
	select {
	case err := <-ended:
		t.Errorf("Run ended with %v because of a refusal", err)
	default:
	}
}

func TestLostConnectionEndsTheRun(t *testing.T) {
	server := redistest.Start(t)
	give, _, ended := publishing(t, server, "json")
	server.Kill()
	give(&Sample{})
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "publish telemetry") {
			t.Errorf("got %v, want the failed publication", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("Run went on without a connection")
	}
}

// TestLastHourIsSentAfterwards kills a real server, and has it back.
func TestLastHourIsSentAfterwards(t *testing.T) {
	server := redistest.Start(t)
	backlog := NewBacklog()
	began := time.Now()
	clock := began.Add(-2 * time.Hour)
	backlog.now = func() time.Time { return clock }
	take := func(n int) {
		for i := range n {
			backlog.add(&Sample{Box: "box1", UptimeS: ptr(float64(i))})
			clock = clock.Add(time.Minute)
		}
	}
	p := &Publisher{Backlog: backlog, Topic: "box1_log", Format: "json", Log: zerolog.Nop()}
	server.Kill()
	take(121)
	clock = began
	if err := p.Run(t.Context(), server.Client()); err == nil {
		t.Fatal("got no error without a server")
	}
	server.Restart()
	sub := server.Client().Subscribe(t.Context(), "box1_log")
	defer sub.Close()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	client := server.Client()
	go func() { done <- p.Run(ctx, client) }()
	for minute := 60; minute <= 120; minute++ {
		limit, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		m, err := sub.ReceiveMessage(limit)
		cancel()
		if err != nil {
			t.Fatalf("sample of minute %d: %v", minute, err)
		}
		var s Sample
		if err := json.Unmarshal([]byte(m.Payload), &s); err != nil {
			t.Fatal(err)
		}
		want := began.Add(time.Duration(minute-120) * time.Minute)
		if *s.UptimeS != float64(minute) || time.UnixMicro(s.TimeUS).Sub(want).Abs() > time.Second {
			t.Fatalf("got sample %v of %v, want %d of %v", *s.UptimeS, time.UnixMicro(s.TimeUS), minute, want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run returned %v, want nil", err)
	}
}

func TestBacklogIsBounded(t *testing.T) {
	b := NewBacklog()
	for i := range 2 * keepCount {
		b.add(&Sample{UptimeS: ptr(float64(i))})
	}
	if len(b.entries) != keepCount {
		t.Errorf("got %d, want %d", len(b.entries), keepCount)
	}
	large := strings.Repeat("x", keepBytes/4)
	for range 6 {
		b.add(&Sample{Box: large})
	}
	if len(b.entries) > 4 || b.bytes > keepBytes {
		t.Errorf("got %d samples of %d bytes, want at most %d bytes", len(b.entries), b.bytes, keepBytes)
	}
	// The old shape has no time.
	b.add(&Sample{CPU: ptr(7)})
	e, ok := b.oldest(true)
	if !ok || show(e.sample.CPU) != "7" || len(b.entries) != 1 || b.bytes != e.size {
		t.Errorf("got %+v of %d, want the newest alone", e, len(b.entries))
	}
	b.published(e)
	if b.bytes != 0 || len(b.entries) != 0 {
		t.Errorf("got %d bytes in %d, want none", b.bytes, len(b.entries))
	}
}

// A sample that some Redis would end the connection for is left out; the next one comes.
func TestASampleThatIsTooLargeIsLeftOut(t *testing.T) {
	server := redistest.Start(t, redistest.WithConfig("proto-max-bulk-len", "1048576"))
	sub := server.Client().Subscribe(t.Context(), "box1_log")
	defer sub.Close()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	give, log, ended := publishing(t, server, "json")
	give(&Sample{Box: strings.Repeat("x", 2<<20)})
	give(&Sample{Box: "box1"})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if m, err := sub.ReceiveMessage(ctx); err != nil || !strings.Contains(m.Payload, `"box1"`) {
		t.Errorf("the next sample: %v", err)
	}
	if text := log.String(); strings.Count(text, "too large") != 1 || !strings.Contains(text, "1032192") {
		t.Errorf("got the log %s, want one line with the limit", text)
	}
	select {
	case err := <-ended:
		t.Errorf("the publisher ended: %v", err)
	default:
	}
}
