package client

import (
	"encoding/json"
	"os"

	"framekeeper/internal/cli"
	"framekeeper/internal/configfile"

	"strings"
	"testing"
)

func TestStatus(t *testing.T) {
	b := newBench(t, "stream", "greencam1", "redcam")
	startAgent(t, b.redis, "greencam1", "stream")
	wantFailed(t, b, "redcam: absent")
	got := b.stdout.String()
	for _, want := range []string{
		"greencam1: healthy, reported 0s ago\n", "  link.state     LIVE\n", "  outbox.newest  1000-1\n", "  capture.fps    26.6\n",
		"  writable       true\n",
		"redcam: absent, no cam-agent has announced itself (no key status:redcam)\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant it to have %q", got, want)
		}
	}
	if strings.Contains(got, "reason") || strings.Contains(got, "camera ") {
		t.Errorf("got\n%s\nwant no empty fields, and only the headlines", got)
	}
	b.stdout = buffer{}
	b.mustClient("status", "--all", "--camera", "greencam1")
	if got := b.stdout.String(); !strings.Contains(got, "  camera         greencam1\n") {
		t.Errorf("--all: got\n%s\nwant everything", got)
	}
	b.stdout = buffer{}
	b.redis.Do("SET", "status:redcam", "not JSON \x1b[2J")
	wantFailed(t, b, "redcam: its status cannot be read", "--camera", "redcam")
	if got := b.stdout.String(); !strings.Contains(got, "redcam: failed, reported") || !strings.Contains(got, "unreadable") ||
		strings.Contains(got, "\x1b") || strings.Contains(got, "greencam1") {
		t.Errorf("unreadable status: got %q", got)
	}
}

// A script asks for nothing but the exit code.
func TestStatusEndsWithWhatFailed(t *testing.T) {
	b := newBench(t, "stream", "greencam1", "redcam")
	for _, c := range []struct{ status, want string }{
		{`{"link":{"state":"LIVE","stuck":[]},"capture":{"state":"ok"},"writable":true}`, ""},
		{`{"link":{"state":"CONNECTING"},"capture":{"state":"ok"},"writable":true}`, "greencam1: its link to Redis is CONNECTING"},
		{`{"link":{"state":"LIVE","stuck":["spool"]},"capture":{"state":"ok"},"writable":true}`, "greencam1: parts of it do not return (is a disk hanging?): spool"},
		{`{"link":{"state":"LIVE"},"capture":{"state":"stalled","reason":"no frame for 2s"},"writable":true}`, "greencam1: capture is stalled: no frame for 2s"},
		{`{"link":{"state":"LIVE"},"capture":{"state":"ok"},"writable":false,"reason":"out of \u001bmemory"}`, "greencam1: Redis does not accept its frames: out of \ufffdmemory"},
		{`{}`, "greencam1: its link to Redis is unknown; capture is unknown; Redis does not accept its frames"},
		{`[]`, "greencam1: its status cannot be read"},
	} {
		b.redis.Do("SET", "status:greencam1", c.status)
		if c.want != "" {
			wantFailed(t, b, c.want, "--camera", "greencam1")
			continue
		}
		b.mustClient("status", "--camera", "greencam1")
	}
	wantFailed(t, b, "greencam1: its status cannot be read; redcam: absent")
}

// wantFailed wants the status to end with this, after all that it shows.
func wantFailed(t *testing.T, b *bench, want string, args ...string) {
	t.Helper()
	err := b.client(t.Context(), append([]string{"status"}, args...)...)
	if err == nil || cli.OneLine(err) != "not everything is healthy: "+want {
		t.Errorf("client status %q: got %v, want that not everything is healthy: %s", args, err, want)
	}
}

func TestStatusAsJSON(t *testing.T) {
	b := newBench(t, "stream", "greencam1", "redcam")
	startAgent(t, b.redis, "greencam1", "stream")
	err := b.client(t.Context(), "status", "--json")
	if err == nil || !strings.Contains(err.Error(), "redcam: absent") {
		t.Errorf("got %v, want that redcam is absent", err)
	}
	var got struct {
		OK      bool `json:"ok"`
		Cameras []struct {
			Camera  string         `json:"camera"`
			OK      bool           `json:"ok"`
			Present bool           `json:"present"`
			AgeMS   *int64         `json:"age_ms"`
			Status  map[string]any `json:"status"`
		} `json:"cameras"`
	}
	if err := json.Unmarshal([]byte(b.stdout.String()), &got); err != nil {
		t.Fatalf("%v in %s", err, &b.stdout)
	}
	if got.OK || len(got.Cameras) != 2 || !got.Cameras[0].Present || !got.Cameras[0].OK || got.Cameras[0].Status["camera"] != "greencam1" || got.Cameras[1].Present || got.Cameras[1].OK {
		t.Errorf("got %s", &b.stdout)
	}
}

// On a host cameras need no source, and commands to a box no camera at all.
func TestHostConfiguration(t *testing.T) {
	b := newBench(t, "stream", "greencam1")
	startAgent(t, b.redis, "greencam1", "stream")
	write := func(cameras string) {
		t.Helper()
		if err := os.WriteFile(b.config, []byte("[redis]\nurl = \""+b.redis.URL()+"\"\n"+cameras), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("[[camera]]\nname = \"greencam1\"\n")
	b.mustClient("status")
	b.mustClient("request", "--timeout", "10s")
	if _, err := configfile.Load(b.config); err == nil || !strings.Contains(err.Error(), "source") {
		t.Errorf("agent and controller: got %v, want that the source is missing", err)
	}
	write("")
	if err := b.client(t.Context(), "control", "--timeout", "300ms", "status"); err == nil || cli.IsUsage(err) {
		t.Errorf("control without cameras: got %v, want that no controller answers", err)
	}
	if err := b.client(t.Context(), "status"); !cli.IsUsage(err) || !strings.Contains(err.Error(), "has no [[camera]]") {
		t.Errorf("status without cameras: got %v", err)
	}
	if _, err := configfile.Load(b.config); err == nil || !strings.Contains(err.Error(), "camera") {
		t.Errorf("agent and controller: got %v, want that a camera is missing", err)
	}
}
