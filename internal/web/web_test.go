package web

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"framekeeper/internal/files"
	"framekeeper/internal/status"
	"framekeeper/internal/telemetry"
	"framekeeper/pkg/camera"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// reports is what an agent reports of its camera, with all else healthy.
func reports(capture camera.State, reason string) status.Observation {
	return status.Observation{Agent: &status.Agent{
		PID: 42, Link: status.AgentLink{State: "LIVE"}, Capture: status.Capture{State: capture, Reason: reason}, Writable: true,
	}}
}

func good() Report {
	cpu, rss := 12.34, uint64(30<<20)
	return Report{
		Report: status.Report{
			Head: status.Head{
				Box: "box1", Version: "v1", Link: status.Link{State: "LIVE", Live: true, Since: time.Now().Add(-90 * time.Second)},
			},
			Agents: []status.Process{{Name: "cam1", State: status.ProcessRunning, PID: 42, Since: time.Now()}},
			Seen:   map[string]status.Observation{"cam1": reports(camera.StateOK, "")},
		},
		Telemetry: &telemetry.Sample{
			CPU:    &cpu,
			Agents: map[string]telemetry.AgentSample{"cam1": {PID: 42, CPU: &cpu, RSS: &rss}},
		},
	}
}

// serve runs a server with the report and returns its base URL.
func serve(t *testing.T, cfg Config) string {
	t.Helper()
	url, _ := serveAt(t, "127.0.0.1:0", cfg)
	return url
}

// serveAt runs a server at an address; end ends it.
func serveAt(t *testing.T, addr string, cfg Config) (url string, end func()) {
	t.Helper()
	cfg.HTTP, cfg.Log = addr, zerolog.New(zerolog.NewTestWriter(t))
	s, err := Listen(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	end = sync.OnceFunc(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
	})
	t.Cleanup(end)
	return "http://" + s.Addr(), end
}

func get(t *testing.T, method, url, user, password string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestReadyz(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Report)
		reason string // "": ready
	}{
		{"healthy", func(*Report) {}, ""},
		{"a configuration refused", func(r *Report) { r.Reload = &status.Reload{Refused: true} }, ""},
		{"link down", func(r *Report) { r.Link = status.Link{State: "DOWN", Cause: "refused"} }, "Connection to Redis does not work: the link from here to Redis is DOWN: refused"},
		{"camera stalled", func(r *Report) { r.Seen["cam1"] = reports("stalled", "no frames") }, "cam1 gives no frames: capture is stalled: no frames"},
	} {
		report := good()
		c.change(&report)
		resp, body := get(t, http.MethodGet, serve(t, Config{Report: func() Report { return report }})+"/readyz", "", "")
		var h status.Ready
		if err := json.Unmarshal([]byte(body), &h); err != nil {
			t.Fatalf("%s: %v in %s", c.name, err, body)
		}
		code := http.StatusOK
		if c.reason != "" {
			code = http.StatusServiceUnavailable
		}
		if resp.StatusCode != code || h.OK != (c.reason == "") || h.Reasons == nil || c.reason != "" && !slices.Contains(h.Reasons, c.reason) {
			t.Errorf("%s: got %d, ok %v, %q, want %d, %q", c.name, resp.StatusCode, h.OK, h.Reasons, code, c.reason)
		}
		if h.Controller != "up" || h.Link.State != report.Link.State || h.Agents["cam1"].PID != 42 {
			t.Errorf("%s: got %s, want the report's link and agent", c.name, body)
		}
	}
}

// A box whose cameras are gone is alive: nobody should restart the controller
// for that.
func TestHealthz(t *testing.T) {
	for _, c := range []struct {
		name  string
		stuck []string
		code  int
	}{
		{"alive", nil, http.StatusOK},
		{"the link hangs", []string{"the link to Redis has not moved for 1m0s"}, http.StatusServiceUnavailable},
	} {
		report := good()
		report.Link, report.Seen, report.Stuck = status.Link{State: "DOWN"}, nil, c.stuck
		resp, body := get(t, http.MethodGet, serve(t, Config{Report: func() Report { return report }})+"/healthz", "", "")
		var h status.Alive
		if err := json.Unmarshal([]byte(body), &h); err != nil {
			t.Fatalf("%s: %v in %s", c.name, err, body)
		}
		if resp.StatusCode != c.code || h.OK != (c.code == http.StatusOK) || h.Controller != "up" || !slices.Equal(h.Reasons, c.stuck) {
			t.Errorf("%s: got %d, %s, want %d and %q", c.name, resp.StatusCode, body, c.code, c.stuck)
		}
	}
}

func TestMetricsAreServedAndGuarded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("word"), 0o600); err != nil {
		t.Fatal(err)
	}
	figures := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "figures") })
	url := serve(t, Config{Report: good, Settings: Settings{HTTPUser: "op", HTTPPasswordFile: file}, Metrics: figures}) + "/metrics"
	if resp, body := get(t, http.MethodGet, url, "", ""); resp.StatusCode != http.StatusUnauthorized || strings.Contains(body, "figures") {
		t.Errorf("without a password: got %d, %q, want 401", resp.StatusCode, body)
	}
	if resp, body := get(t, http.MethodGet, url, "op", "word"); resp.StatusCode != http.StatusOK || body != "figures" {
		t.Errorf("got %d, %q, want the figures", resp.StatusCode, body)
	}
	if resp, _ := get(t, http.MethodGet, serve(t, Config{Report: good})+"/metrics", "", ""); resp.StatusCode != http.StatusNotFound {
		t.Errorf("without metrics: got %d, want 404", resp.StatusCode)
	}
}

func TestPageShowsAndEscapes(t *testing.T) {
	const evil = `<script>alert("x")</script>`
	report := good()
	report.Box, report.Version, report.Link.Cause = "box"+evil, evil, evil
	report.Agents[0].LastExit = "ended: " + evil
	report.Agents[0].Hangs, report.Agents[0].Recoveries, report.Agents[0].LastRecovery = 3, 2, evil
	report.Seen["cam1"] = status.Observation{Missing: status.Reason{Code: status.NotPermitted, Detail: "status:cam1: " + evil}}
	report.SharedWith = []string{"0a1b" + evil}
	report.Telemetry.Hanging = []string{"disk " + evil}
	report.Unwritable = []files.Unwritable{{Settings: []string{"state_dir"}, Dir: "/state" + evil, Reason: evil}}
	report.Reload = &status.Reload{Refused: true, Problem: "config.toml:3: " + evil}
	report.Orphaned = []status.OrphanedSpool{{Camera: "oldcam", Dir: "/spool/oldcam" + evil, State: "/state/oldcam", Frames: 1}}
	resp, body := get(t, http.MethodGet, serve(t, Config{Report: func() Report { return report }})+"/", "", "")
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("got %d, want 200: %s", resp.StatusCode, body)
	}
	if strings.Count(body, "<script") != 1 || !strings.Contains(body, "<script>"+script()+"</script>") {
		t.Errorf("another script than our own got into the page:\n%s", body)
	}
	for _, want := range []string{"LIVE", "1 min 30 s", "cam1", "running for", "is starting", "reading status:cam1: &lt;script&gt;", "last end: ended: &lt;script&gt;",
		"<dt>restarts after a hang</dt><dd>3</dd>", "run 2 times, the last time: &lt;script&gt;", "42", "12.3 %", "30.0 MiB", "unknown", `name="viewport"`, "shared with controller 0a1b&lt;", "1 frame waits on disk", "delete /spool/oldcam&lt;", "/state&lt;script&gt;", "config.toml:3: &lt;script&gt;", "<dt>does not answer</dt><dd>disk &lt;script&gt;"} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
}

// A browser drops style sheet and script unless the policy has the hash of what
// is between the tags, byte for byte.
func TestHashesMatchThePolicy(t *testing.T) {
	resp, body := get(t, http.MethodGet, serve(t, Config{Report: good})+"/", "", "")
	for _, tag := range []string{"style", "script"} {
		_, rest, _ := strings.Cut(body, "<"+tag+">")
		text, _, found := strings.Cut(rest, "</"+tag+">")
		sum := sha256.Sum256([]byte(text))
		want := tag + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "';"
		if policy := resp.Header.Get("Content-Security-Policy"); !found || !strings.Contains(policy, want) {
			t.Errorf("got policy %q, want %s in it", policy, want)
		}
	}
	for _, header := range []string{"X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Cache-Control"} {
		if resp.Header.Get(header) == "" {
			t.Errorf("header %s is missing", header)
		}
	}
}

func TestBasicAuth(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret word\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := serve(t, Config{Report: good, Settings: Settings{HTTPUser: "op", HTTPPasswordFile: file}})
	for _, c := range []struct {
		path, user, password string
		code                 int
	}{
		{"/", "", "", 401},
		{"/healthz", "", "", 401},
		{"/readyz", "", "", 401},
		{"/metrics", "", "", 401},
		{"/nothing", "", "", 401},
		{"/", "op", "wrong", 401},
		{"/", "op", "secret word\n", 401},
		{"/", "other", "secret word", 401},
		{"/", "op", "secret word", 200},
		{"/healthz", "op", "secret word", 200},
	} {
		resp, body := get(t, http.MethodGet, url+c.path, c.user, c.password)
		if resp.StatusCode != c.code {
			t.Errorf("%s as %q, %q: got %d, want %d", c.path, c.user, c.password, resp.StatusCode, c.code)
		}
		if c.code == 401 && (strings.Contains(body, "box1") || resp.Header.Get("WWW-Authenticate") == "") {
			t.Errorf("%s as %q: got %q, want a challenge and nothing else", c.path, c.user, body)
		}
	}
}

func TestPasswordFileIsNeeded(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	pipe := empty + ".pipe" // opening it would wait until somebody writes
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, empty + ".missing", pipe} {
		_, err := Listen(t.Context(), Config{Settings: Settings{HTTP: "127.0.0.1:0", HTTPUser: "op", HTTPPasswordFile: file}, Report: good})
		if err == nil || !strings.Contains(err.Error(), "http_password_file: ") || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: got %v, want an error that names it and its key", file, err)
		}
	}
}

func TestPasswordChanged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old\n")
	s, err := Listen(t.Context(), Config{Settings: Settings{HTTP: "127.0.0.1:0", HTTPUser: "op", HTTPPasswordFile: file}, Report: good})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if err := Check(&Settings{HTTPUser: "op", HTTPPasswordFile: file}); err != nil || s.PasswordChanged() {
		t.Errorf("got %v, changed %v, want neither", err, s.PasswordChanged())
	}
	if write("new"); !s.PasswordChanged() {
		t.Error("a new password is not noticed")
	}
	if write(""); s.PasswordChanged() || Check(&Settings{HTTPUser: "op", HTTPPasswordFile: file}) == nil || Check(&Settings{HTTPPasswordFile: file}) != nil {
		t.Error("an empty file is no new password, and only a mistake where there is a user")
	}
}

func TestOnlyReading(t *testing.T) {
	url := serve(t, Config{Report: good})
	for _, c := range []struct {
		method, path string
		code         int
	}{{"POST", "/", 405}, {"DELETE", "/healthz", 405}, {"GET", "/etc/passwd", 404}, {"HEAD", "/healthz", 200}} {
		if resp, _ := get(t, c.method, url+c.path, "", ""); resp.StatusCode != c.code {
			t.Errorf("%s %s: got %d, want %d", c.method, c.path, resp.StatusCode, c.code)
		}
	}
}

func TestPortTaken(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	addr := other.Addr().String()
	_, err = Listen(t.Context(), Config{Settings: Settings{HTTP: addr}, Report: good})
	if err == nil {
		t.Fatal("got no error for a taken port")
	}
	for _, want := range []string{addr, "another program", "[controller] http"} {
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %q, want one line with %q", err, want)
		}
	}
}

// A visitor who never finishes its request must not hold up the end.
func TestEndsWithAVisitorInHand(t *testing.T) {
	s, err := Listen(t.Context(), Config{Settings: Settings{HTTP: "127.0.0.1:0"}, Report: good, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n")); err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
	case <-time.After(4 * time.Second):
		t.Error("Run did not return within 4 s")
	}
}
