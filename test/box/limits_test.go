package box

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/testkit/redistest"
)

// TestRequestLimits: what is too much is refused and counted, said once a
// second, and harms nobody.
func TestRequestLimits(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	text := strings.NewReplacer("URL", server.URL(), "USER", "", "TLS", "", `password_file = "DIR/password"`, "").Replace(plainBox)
	b := newBox(t, text+"request_rate = 20\n")
	b.start("controller")
	b.awaitHealthy()
	client := server.Client()
	sub := client.Subscribe(t.Context(), "stream/cam1")
	defer sub.Close()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	send := func(payload string) {
		t.Helper()
		if n, err := client.Publish(t.Context(), "request/cam1", payload).Result(); err != nil || n != 1 {
			t.Fatalf("request: %d receivers, %v", n, err)
		}
	}
	began := time.Now()
	const flood = 2000
	for i := range flood {
		send(fmt.Sprintf(`{"id":"f%d"}`, i))
	}
	answers, refusals := 0, 0
	var refused map[string]any
	b.await("the refusals in the status", func() bool {
		a, r := replies(t, sub)
		answers, refusals = answers+a, refusals+r
		text, err := client.Get(t.Context(), "status:cam1").Bytes()
		var status struct{ Requests map[string]any }
		_ = json.Unmarshal(text, &status)
		refused = status.Requests
		limited, _ := refused["refused"].(float64)
		return err == nil && limited >= flood-20*(time.Since(began).Seconds()+2)
	})
	t.Logf("%d requests in %v: %d answers, %d error replies, status %v", flood, time.Since(began).Round(time.Millisecond), answers, refusals, refused)
	if most := 20*(time.Since(began).Seconds()+2) + 5; float64(answers) > most {
		t.Errorf("got %d answers, want at most %.0f", answers, most)
	}
	if most := time.Since(began).Seconds() + 3; refusals == 0 || float64(refusals) > most {
		t.Errorf("got %d error replies, want 1 to %.0f", refusals, most)
	}
	b.await("an answer afterwards", func() bool { return b.start("client", "request").finish() == nil })
	send(`{"id":"large","pad":"` + strings.Repeat("x", 64<<10) + `"}`)
	send(strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40))
	b.await("two malformed requests in the status", func() bool {
		text, err := client.Get(t.Context(), "status:cam1").Bytes()
		return err == nil && strings.Contains(string(text), `"malformed":2`)
	})
}

// replies counts the answers and errors that have come, until none comes.
func replies(t *testing.T, sub *redis.PubSub) (answers, refusals int) {
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		m, err := sub.ReceiveMessage(ctx)
		cancel()
		if err != nil {
			return answers, refusals
		}
		switch head, _, _ := strings.Cut(m.Payload, "\n"); {
		case strings.Contains(head, `"status":"error"`):
			refusals++
		case strings.Contains(head, `"request":`):
			answers++
		}
	}
}

// TestOpenHTTPNeedsAPassword: nobody else is let in, and the start says so.
func TestOpenHTTPNeedsAPassword(t *testing.T) {
	t.Parallel()
	text := strings.NewReplacer("URL", "redis://127.0.0.1:1", "USER", "", "TLS", "", `password_file = "DIR/password"`, "").Replace(plainBox)
	for name, c := range map[string]struct{ more, want string }{
		"no user":  {`http = "0.0.0.0:0"`, "http_user and http_password_file"},
		"no file":  {"http = \"0.0.0.0:0\"\nhttp_user = \"operator\"\nhttp_password_file = \"DIR/absent\"", "no such file"},
		"empty":    {"http = \"0.0.0.0:0\"\nhttp_user = \"operator\"\nhttp_password_file = \"DIR/empty\"", "is empty"},
		"half":     {"http = \"0.0.0.0:0\"\nhttp_user = \"operator\"", "together"},
		"any host": {`http = ":0"`, "http_user and http_password_file"},
	} {
		b := newBox(t, strings.Replace(text, `http = "HTTP"`, c.more, 1))
		if err := os.WriteFile(b.path("empty"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		p := b.start("controller")
		if err := p.finish(); exitCode(err) == 0 || !strings.Contains(p.out.String(), c.want) {
			t.Errorf("%s: got %v, want a refusal that says %q:\n%s", name, err, c.want, p.out.String())
		}
	}
}
