package docs

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/events"
	"framekeeper/internal/notify"
	"framekeeper/internal/status"
	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/proctest"
	"framekeeper/internal/testkit/redistest"
)

// The receiver that monitoring.md prints takes what a Sender sends, and nothing that is
// altered, forged or old.
func TestReceiverOfEvents(t *testing.T) {
	need(t, "python3", python, "--version")
	addr := redistest.FreeAddr(t)
	dir, out := t.TempDir(), &proctest.Output{}
	secret := filepath.Join(dir, "webhook.secret")
	if err := os.WriteFile(secret, []byte("a secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	program := strings.Replace(receiverOfEvents(t), `("", 8000)`, `("127.0.0.1", `+addr[strings.LastIndexByte(addr, ':')+1:]+")", 1)
	reader{command: []string{python, "-c", program}}.start(t, dir, out)

	log := zerolog.Nop()
	sender := notify.New("v1", func() *zerolog.Logger { return &log })
	url := "http://" + addr + "/"
	target, err := (&notify.Config{URL: url, SecretFile: secret}).Target("box1")
	if err != nil {
		t.Fatal(err)
	}
	sender.Use(target)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { sender.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	sender.Add(events.Event{Kind: events.Camera, Health: status.Failed, Camera: "cam1", Text: "cam1 gives no frames"})
	testkit.Eventually(t, "the event", func() bool { return strings.Contains(out.String(), "box1 failed cam1 gives no frames\n") })

	for name, c := range map[string]struct {
		age  time.Duration
		key  string
		body string
		want int
	}{
		"genuine":       {0, "a secret", `{"box": "box2", "event": {"health": "healthy", "text": "genuine"}}`, http.StatusNoContent},
		"another's key": {0, "no secret", "{}", http.StatusForbidden},
		"old":           {time.Hour, "a secret", "{}", http.StatusForbidden},
		"of the future": {-time.Hour, "a secret", "{}", http.StatusForbidden},
		"large":         {0, "a secret", strings.Repeat("x", 1<<17), http.StatusRequestEntityTooLarge},
	} {
		at := strconv.FormatInt(time.Now().Add(-c.age).Unix(), 10)
		mac := hmac.New(sha256.New, []byte(c.key))
		fmt.Fprintf(mac, "%s.%s", at, c.body)
		if got := post(t, url, c.body, at, fmt.Sprintf("sha256=%x", mac.Sum(nil))); got != c.want && (got != 0 || c.want != http.StatusRequestEntityTooLarge) {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
	for _, signature := range []string{"", "sha256=", "sha256=é", strings.Repeat("0", 64)} {
		if got := post(t, url, "{}", "nonsense", signature); got != http.StatusForbidden {
			t.Errorf("%q: got %d", signature, got)
		}
	}
}

// post is what the receiver answers; 0: it hung up before it read all.
func post(t *testing.T, url, body, at, signature string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Framekeeper-Timestamp", at)
	r.Header.Set("X-Framekeeper-Signature", signature)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Logf("post: %v", err)
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func receiverOfEvents(t *testing.T) string {
	t.Helper()
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			if b.language == "python" && strings.Contains(b.text, "X-Framekeeper-Signature") {
				return b.text
			}
		}
	}
	t.Fatal("found no receiver")
	return ""
}
