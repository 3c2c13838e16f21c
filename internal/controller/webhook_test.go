package controller

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"framekeeper/internal/cli"
	"framekeeper/internal/events"
	"framekeeper/internal/testkit"
)

// hook is a receiver of events. Its answers are failures while it is down.
type hook struct {
	*httptest.Server
	mu   sync.Mutex // guards all below
	all  []events.Event
	down bool
}

func newHook(t *testing.T) *hook {
	h := &hook{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			Box, Version string
			Event        events.Event
		}
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &m); err != nil || m.Box != "box1" || m.Version != cli.Version() {
			t.Errorf("%v: %s", err, body)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.down {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		h.all = append(h.all, m.Event)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) has(kind events.Kind, text string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.all {
		if e.Kind == kind && strings.Contains(e.Text, text) {
			return true
		}
	}
	return false
}

func (h *hook) await(t *testing.T, kind events.Kind, text string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s: %s", kind, text), func() bool { return h.has(kind, text) })
}

// A box without Redis sends what happens to it, from its start to its end; a reload
// changes where, or is refused; and no secret is anywhere.
func TestWebhook(t *testing.T) {
	first, second := newHook(t), newHook(t)
	s := newSetup(t, "redis://127.0.0.1:1/0", "")
	secret := testkit.SecretFile(t, "HOOKPW")
	s.adjust(t, "[controller]", fmt.Sprintf("[notify]\nurl = %q\nsecret_file = %q\n[controller]", first.URL+"/hook?token=HOOKPW", secret))
	if text, err := s.ask("--check"); err != nil || !strings.Contains(text, ": OK") {
		t.Errorf("got %q, %v", text, err)
	}
	stderr, end := s.begin(t)
	first.await(t, events.Start, " started")

	s.adjust(t, secret, secret+".gone")
	hangUp(t)
	first.await(t, events.Reload, "read [notify] secret_file: stat "+secret+".gone")
	s.adjust(t, secret+".gone", secret)

	second.down = true
	s.adjust(t, first.URL, second.URL)
	hangUp(t)
	eventually(t, "a failure in the log", func() bool { return strings.Contains(stderr.String(), "do not reach their receiver") })
	second.mu.Lock()
	second.down = false
	second.mu.Unlock()
	second.await(t, events.Reload, "Configuration is reloaded")
	eventually(t, "the counter", func() bool { return s.scrape(t).value("notify_sent_total") >= 3 })
	if first.has(events.Reload, "Configuration is reloaded") {
		t.Error("the address of before got the reload")
	}
	for _, path := range []string{"/", "/api/v1/status", "/api/v1/events", "/metrics"} {
		if _, body := s.visit(t, path); strings.Contains(string(body), "HOOKPW") {
			t.Errorf("%s has the secret", path)
		}
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	if !second.has(events.Stop, "Controller stopped") && !strings.Contains(stderr.String(), "Events have not reached their receiver") { // a busy machine
		t.Error("the last event has not arrived")
	}
	if strings.Contains(stderr.String(), "HOOKPW") {
		t.Error("the log has the secret")
	}
}

// What is wrong with [notify] is named by a check and refused by a start, without what
// may be a secret.
func TestWebhookRefused(t *testing.T) {
	for given, want := range map[string]string{
		"url = \"https://h/?t=HOOKPW\"\nsecret_file = \"/nowhere/secret\"\n": "read [notify] secret_file: stat /nowhere/secret: no such file",
		"url = \"h/HOOKPW\"\nsecret_file = \"x\"\n":                          `notify.url = "…": expected an address such as https://example.com/hook`,
		"url = \"https://h/HOOKPW\"\n":                                       "notify.secret_file: missing, expected url and secret_file together, or neither",
		"events = [\"cam\"]\n":                                               `notify.events = "cam": expected kinds of start stop camera`,
	} {
		s := newSetup(t, "redis://127.0.0.1:1/0", "")
		s.adjust(t, "[controller]", "[notify]\n"+given+"[controller]")
		for _, args := range [][]string{{"--check"}, {}} {
			_, err := s.ask(args...)
			if usage := new(cli.UsageError); !errors.As(err, &usage) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "HOOKPW") {
				t.Errorf("%s: got %v, want %q", args, err, want)
			}
		}
		if _, err := os.Stat(filepath.Join(s.dir, "started")); err == nil {
			t.Error("an agent was started")
		}
	}
}
