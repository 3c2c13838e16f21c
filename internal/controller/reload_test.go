package controller

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	commands "framekeeper/internal/control"
	"framekeeper/internal/status"
	"framekeeper/internal/testkit/redistest"
)

func (s *scene) reload() (commands.ReloadResult, string) {
	s.t.Helper()
	r := s.command(commands.Reload, "")
	if r.Result == nil {
		return commands.ReloadResult{}, r.Error
	}
	return result[commands.ReloadResult](s.t, r), r.Error
}

func TestReload(t *testing.T) {
	s := newScene(t)
	first := s.status()
	want := func(what string, got commands.ReloadResult, failure string, sections, started, restarted, stopped, kept []string) {
		t.Helper()
		c := got.Cameras
		if failure != "" || !slices.Equal(got.Sections, sections) || !slices.Equal(c.Started, started) || !slices.Equal(c.Restarted, restarted) ||
			!slices.Equal(c.Stopped, stopped) || !slices.Equal(c.Kept, kept) {
			t.Errorf("%s: got %+v, %q", what, got, failure)
		}
	}
	both := []string{"cam1", "cam2"}
	got, failure := s.reload()
	want("nothing", got, failure, nil, nil, nil, nil, both)

	// The controller's own settings leave the agents alone.
	s.configure("restart_backoff_max = \"1s\"\nlog_topic = \"elsewhere\"\n", twoCameras)
	got, failure = s.reload()
	want("the controller's", got, failure, []string{"controller"}, nil, nil, nil, both)
	sub := s.server.Client().Subscribe(t.Context(), "elsewhere")
	defer sub.Close()
	if m := telemetryOf(t, skipConfirmation(t, sub)); m.Agents["cam1"].PID != first.Cameras[0].PID {
		t.Errorf("got telemetry %+v, want cam1 as before", m)
	}

	// One camera's settings restart that one; by signal this time.
	changed := strings.Replace(twoCameras, "name = \"cam2\"\n", "name = \"cam2\"\npublish_fps = 20\n", 1)
	s.configure("", changed+"[[camera]]\nname = \"cam3\"\nsource = \"test:\"\nwidth = 64\nheight = 48\n")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "three agents", func() bool { return len(s.status().Cameras) == 3 && s.status().OK })
	now := s.status()
	if now.Cameras[0].PID != first.Cameras[0].PID || now.Cameras[1].PID == first.Cameras[1].PID || now.Cameras[2].Name != "cam3" {
		t.Errorf("got %+v, want cam1 as before, cam2 restarted and cam3", now.Cameras)
	}
	eventually(t, "cam2's frames", func() bool { return s.server.Client().XLen(t.Context(), "frames:cam2").Val() > 3 })
	if page := s.page(); !strings.Contains(page, ">cam3</a></h3>") {
		t.Error("the page does not show cam3")
	}

	// What is wrong is refused whole, and an agent that dies meanwhile comes back.
	s.configure("http_user = \"x\"\nnonsense = 1\n", strings.Replace(twoCameras, "width = 64", "width = 1", 1))
	_, failure = s.reload()
	for _, part := range []string{"refused; the old one stays in force", "controller.nonsense", "camera.cam1.width", "http_user"} {
		if !strings.Contains(failure, part) {
			t.Errorf("refused with %q, want %q in it", failure, part)
		}
		if !strings.Contains(s.stderr.String(), part) {
			t.Errorf("the log does not say %q", part)
		}
	}
	if err := syscall.Kill(now.Cameras[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "cam1 again, with the accepted configuration", func() bool {
		c := s.camera("cam1")
		return c.PID != now.Cameras[0].PID && c.State == status.ProcessRunning && c.Trouble == ""
	})

	s.configure("", twoCameras)
	got, failure = s.reload()
	want("back", got, failure, []string{"camera"}, nil, []string{"cam2"}, []string{"cam3"}, []string{"cam1"})

	// The state directory and the address of another program are refused too.
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{s.state: s.dir + "/other", s.http: s.server.Addr()} {
		if err := os.WriteFile(s.config, []byte(strings.Replace(string(text), from, to, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, failure := s.reload(); !strings.Contains(failure, to) || !strings.Contains(failure, "the old one stays in force") {
			t.Errorf("%s: got %q, want a refusal that names it", to, failure)
		}
	}
	eventually(t, "all to be well after a refusal", func() bool { return s.status().OK })
}

func TestReloadMovesEverything(t *testing.T) {
	s := newScene(t)
	if r := s.command(commands.Stop, "cam2"); r.Status != commands.OK {
		t.Fatalf("stop: %+v", r)
	}
	other := redistest.Start(t)
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	oldHTTP := s.http
	s.http = redistest.FreeAddr(t)
	logFile := filepath.Join(s.dir, "box.log")
	moved := strings.NewReplacer(s.server.URL(), other.URL(), oldHTTP, s.http, "[controller]", "[log]\nlevel = \"debug\"\nformat = \"json\"\nfile = \""+logFile+"\"\n[controller]").
		Replace(string(text))
	if err := os.WriteFile(s.config, []byte(moved), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.server = other
	eventually(t, "cam1 on the other Redis", func() bool {
		c := s.camera("cam1")
		return c.State == status.ProcessRunning && c.Trouble == ""
	})
	if c := s.camera("cam2"); c.State != status.ProcessStopped {
		t.Errorf("got %+v, want that cam2 stays stopped", c)
	}
	if page := s.page(); !strings.Contains(page, ">cam1</a></h3>") {
		t.Error("no page at the new address")
	}
	eventually(t, "the new log", func() bool {
		b, _ := os.ReadFile(filepath.Join(s.dir, "box-controller.log"))
		return strings.Contains(string(b), `"message":"Configuration reloaded"`)
	})
	if r := s.command(commands.Start, "cam2"); r.Status != commands.OK {
		t.Errorf("start: %+v", r)
	}
	eventually(t, "cam2 with the new configuration", func() bool { return s.status().OK })
}

func skipConfirmation(t *testing.T, sub *redis.PubSub) *redis.PubSub {
	t.Helper()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	return sub
}

// Whoever renames a box is answered under the name that was asked.
func TestReloadRenamesTheBox(t *testing.T) {
	s := newScene(t)
	pid := s.status().Cameras[0].PID
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.config, []byte(strings.Replace(string(text), `box = "box1"`, `box = "box2"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := s.command(commands.Reload, ""); r.Status != commands.OK {
		t.Errorf("reload: got %+v", r)
	}
	s.box = "box2"
	if now := s.status(); now.Box != "box2" || now.Cameras[0].PID != pid {
		t.Errorf("got %+v, want the new name and the same processes", now)
	}
}

// What is in the way of the page's new address may be the page itself.
func TestReloadOpensThePageToOthers(t *testing.T) {
	s := newSetup(t, "redis://127.0.0.1:1/0", "")
	stderr, end := s.begin(t)
	local, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	password := filepath.Join(s.dir, "password")
	if err := os.WriteFile(password, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(s.http)
	if err != nil {
		t.Fatal(err)
	}
	open := strings.Replace(string(local), `http = "`+s.http, fmt.Sprintf("http_user = \"u\"\nhttp_password_file = %q\nhttp = \"0.0.0.0:%s", password, port), 1)
	reloads := 0
	reload := func(text, says string) {
		t.Helper()
		if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		reloads++
		eventually(t, "a reload that says "+says, func() bool {
			out := stderr.String()
			done := strings.Count(out, "Configuration reloaded") + strings.Count(out, "the old one stays in force problems=")
			return done == reloads && strings.Contains(out, says)
		})
	}
	asked := func(host, user string) int {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/healthz", nil)
		req.SetBasicAuth(user, "secret")
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			return 0
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	eventually(t, "the page", func() bool { return asked("127.0.0.1", "") == http.StatusOK })

	other, err := net.Listen("tcp", net.JoinHostPort("127.0.0.3", port))
	if err != nil {
		t.Fatal(err)
	}
	reload(open, "another program uses this address")
	if code := asked("127.0.0.1", ""); code != http.StatusOK {
		t.Errorf("after a refusal the old page answers %d, want 200", code)
	}
	_ = other.Close()
	reload(open, "Configuration reloaded")
	if got := []int{asked("127.0.0.2", "u"), asked("127.0.0.2", "")}; !slices.Equal(got, []int{http.StatusOK, http.StatusUnauthorized}) {
		t.Errorf("opened to all it answers %v, want 200 with a password and 401 without", got)
	}
	reload(string(local), "Configuration reloaded")
	if got := []int{asked("127.0.0.1", ""), asked("127.0.0.2", "")}; !slices.Equal(got, []int{http.StatusOK, 0}) {
		t.Errorf("closed again it answers %v, want 200 here and nothing elsewhere", got)
	}
	if err := end(); err != nil {
		t.Errorf("run returned %v, want nil", err)
	}
}
