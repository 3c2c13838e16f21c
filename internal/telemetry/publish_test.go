package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/redistest"
)

// logged collects log lines.
type logged struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) count(word string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), word)
}

// publishing runs a publisher with a sampler whose samples the test makes.
func publishing(t *testing.T, server *redistest.Server, format string) (give func(*Sample), log *logged, ended <-chan error) {
	t.Helper()
	log = &logged{}
	s := NewSampler(Config{Interval: time.Hour})
	p := &Publisher{Sampler: s, Topic: "box1_log", Format: format, Log: zerolog.New(log)}
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
	// Whoever gives the next sample before the last was taken replaces it.
	for log.count("refuses telemetry") == 0 {
		give(&Sample{})
		time.Sleep(5 * time.Millisecond)
	}
	for range 20 {
		give(&Sample{})
		time.Sleep(5 * time.Millisecond)
	}
	server.Do("ACL", "SETUSER", "default", "+publish")
	for deadline := time.Now().Add(10 * time.Second); log.count("published again") == 0; {
		if time.Now().After(deadline) {
			t.Fatal("not published within 10 s after permission returned")
		}
		give(&Sample{})
		time.Sleep(5 * time.Millisecond)
	}
	if got := log.count("refuses telemetry"); got != 1 {
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
