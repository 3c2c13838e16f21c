package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/agentapi"
	commands "framekeeper/internal/control"
	"framekeeper/internal/redistest"
	"framekeeper/internal/supervise"
	"framekeeper/pkg/redisconn"
)

// buildAgent makes the real cam-agent, once for all tests.
var buildAgent = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "cam-agent")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "cam-agent")
	if out, err := exec.Command("go", "build", "-tags", "noopencv", "-o", path, "../cam-agent").CombinedOutput(); err != nil {
		return out, err
	}
	return os.ReadFile(path)
})

// scene is a box with real agents.
type scene struct {
	setup
	t      *testing.T
	server *redistest.Server
	stderr *output
	end    func() error
}

const twoCameras = `
[[camera]]
name = "cam1"
source = "test:"
width = 64
height = 48
status_interval = "200ms"
[[camera]]
name = "cam2"
source = "test:"
width = 64
height = 48
status_interval = "200ms"
`

func newScene(t *testing.T) *scene {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the agent")
	}
	program, err := buildAgent()
	if err != nil {
		t.Fatalf("build cam-agent: %v\n%s", err, program)
	}
	s := &scene{t: t, server: redistest.Start(t)}
	s.setup = newSetup(t, s.server.URL(), "")
	if err := os.Remove(filepath.Join(s.dir, "cam-agent")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "cam-agent"), program, 0o700); err != nil {
		t.Fatal(err)
	}
	s.configure("", twoCameras)
	s.stderr, s.end = s.begin(t)
	eventually(t, "two agents that work", func() bool { return s.status().OK })
	return s
}

// configure writes the file; more goes into [controller].
func (s *scene) configure(more, cameras string) {
	s.t.Helper()
	text := "state_dir = \"" + s.state + "\"\n[redis]\nurl = \"" + s.server.URL() + "\"\n[delivery]\nspool_dir = \"" + s.dir + "/spool\"\n" +
		"[controller]\nbox = \"box1\"\nlog_interval = \"100ms\"\nhttp = \"" + s.http + "\"\n" + more + cameras
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// send gives a command; the function it returns waits for the answer.
func (s *scene) send(fields map[string]any) func() *commands.Reply {
	s.t.Helper()
	call, err := commands.NewCall("box1", fields)
	if err != nil {
		s.t.Fatal(err)
	}
	cfg := redisconn.Default()
	cfg.URL = s.server.URL()
	got := make(chan *commands.Reply, 1)
	failed := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		r, err := call.Do(ctx, cfg)
		failed <- err
		got <- r
	}()
	return func() *commands.Reply {
		s.t.Helper()
		if err := <-failed; err != nil {
			s.t.Fatalf("%v: %v", fields, err)
		}
		return <-got
	}
}

func (s *scene) command(name, camera string) *commands.Reply {
	s.t.Helper()
	fields := map[string]any{"command": name}
	if camera != "" {
		fields["camera"] = camera
	}
	return s.send(fields)()
}

func result[T any](t *testing.T, r *commands.Reply) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(r.Result, &v); err != nil {
		t.Fatalf("%v in %+v", err, r)
	}
	return v
}

func (s *scene) status() commands.BoxStatus {
	s.t.Helper()
	return result[commands.BoxStatus](s.t, s.command(commands.Status, ""))
}

func (s *scene) camera(name string) commands.CameraStatus {
	s.t.Helper()
	for _, c := range s.status().Cameras {
		if c.Name == name {
			return c
		}
	}
	s.t.Fatalf("no camera %s in the status", name)
	return commands.CameraStatus{}
}

func TestCommandsToRealAgents(t *testing.T) {
	s := newScene(t)
	before := s.status()
	r := s.command(commands.Restart, "cam1")
	now := result[supervise.Status](t, r)
	if r.Status != commands.OK || now.PID == before.Cameras[0].PID || !now.Ready || now.State != supervise.Running {
		t.Errorf("restart: got %+v, want a new process that is ready", r)
	}
	if c := s.camera("cam2"); c.PID != before.Cameras[1].PID {
		t.Error("the other camera's process was restarted too")
	}

	fps := 20.0
	r = s.send(map[string]any{"command": commands.Set, "camera": "cam1", "publish_fps": fps, "quality": 40})()
	if set := result[agentapi.Settings](t, r); r.Status != commands.OK || *set.PublishFPS != fps || *set.Quality != 40 {
		t.Errorf("set: got %+v, want the settings as they are then", r)
	}
	eventually(t, "frames nobody asked for", func() bool { return s.server.Client().XLen(t.Context(), "frames:cam1").Val() > 10 })
	r = s.send(map[string]any{"command": commands.Set, "camera": "cam1", "quality": 400})()
	if r.Status != commands.Error || r.Error != "quality = 400: expected 1 to 100" {
		t.Errorf("set quality = 400: got %+v", r)
	}
	r = s.send(map[string]any{"command": commands.Set, "camera": "cam1", "controls": map[string]int{"gain": 3}})()
	if r.Status != commands.Error || !strings.Contains(r.Error, "gain") {
		t.Errorf("set a control: got %+v, want that the test pattern has none", r)
	}

	if r = s.command(commands.Stop, "cam1"); r.Status != commands.OK || result[supervise.Status](t, r).State != supervise.Stopped {
		t.Errorf("stop: got %+v", r)
	}
	if c := s.camera("cam1"); c.State != supervise.Stopped || c.PID != 0 || !strings.Contains(c.Trouble, "client control start cam1") {
		t.Errorf("after stop: got %+v", c)
	}
	if page := s.page(); !strings.Contains(page, "cam1: <b>stopped</b>") || !strings.Contains(page, "stopped by command") {
		t.Errorf("the page does not show that it is stopped:\n%s", page)
	}
	if r = s.send(map[string]any{"command": commands.Set, "camera": "cam1", "quality": 40})(); !strings.Contains(r.Error, "camera cam1 is stopped") {
		t.Errorf("set a stopped camera: got %+v", r)
	}
	if r = s.command(commands.Start, "cam1"); r.Status != commands.OK || result[supervise.Status](t, r).State != supervise.Running {
		t.Errorf("start: got %+v", r)
	}
	for _, name := range []string{commands.Restart, commands.Stop, commands.Start} {
		if r = s.command(name, "cam9"); r.Status != commands.Error || r.Error != `no camera "cam9"; there is cam1, cam2` || r.Result != nil {
			t.Errorf("%s cam9: got %+v, want what cameras there are", name, r)
		}
	}
	if err := s.end(); err != nil {
		t.Errorf("run returned %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(s.state, "*", "agent.sock")); len(left) != 0 {
		t.Errorf("sockets are left: %v", left)
	}
}

func (s *scene) page() string {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.http+"/", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var b strings.Builder
	if err := resp.Write(&b); err != nil {
		s.t.Fatal(err)
	}
	return b.String()
}

// A restart that is ordered while the link breaks happens once, and is answered.
func TestCommandsThroughFaults(t *testing.T) {
	s := newScene(t)
	restarts := 0
	for _, f := range []struct {
		name string
		hurt func()
	}{
		{"Redis killed and started again", func() { s.server.Kill(); s.server.Restart() }},
		{"subscriptions killed", func() { s.server.KillClients("pubsub") }},
		{"all connections killed", func() { s.server.KillClients("normal"); s.server.KillClients("pubsub") }},
		{"Redis frozen", func() {
			s.server.Freeze()
			eventually(t, "the controller to notice", func() bool { _, err := s.ask("--status"); return err != nil })
			s.server.Thaw()
		}},
	} {
		wait := s.send(map[string]any{"command": commands.Restart, "camera": "cam1"})
		f.hurt()
		r := wait()
		restarts++
		if now := result[supervise.Status](t, r); r.Status != commands.OK || now.Restarts != restarts {
			t.Errorf("%s: got %+v, want ok and %d restarts in all", f.name, r, restarts)
		}
		if c := s.camera("cam1"); c.Restarts != restarts {
			t.Errorf("%s: %d restarts in all, want %d", f.name, c.Restarts, restarts)
		}
		eventually(t, "all to be well again", func() bool { return s.status().OK })
	}
}

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
	if page := s.page(); !strings.Contains(page, "cam3: <b>running</b>") {
		t.Error("the page does not show cam3")
	}

	// What is wrong is refused whole, and an agent that dies meanwhile comes back.
	s.configure("http_user = \"x\"\nnonsense = 1\n", strings.Replace(twoCameras, "width = 64", "width = 1", 1))
	_, failure = s.reload()
	for _, part := range []string{"refused, the old one goes on", "controller.nonsense", "camera.cam1.width", "http_user"} {
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
		return c.PID != now.Cameras[0].PID && c.State == supervise.Running && c.Trouble == ""
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
		if _, failure := s.reload(); !strings.Contains(failure, to) || !strings.Contains(failure, "the old one goes on") {
			t.Errorf("%s: got %q, want a refusal that names it", to, failure)
		}
	}
	if !s.status().OK {
		t.Error("not all is well after a refusal")
	}
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
	s.http = freeAddr(t)
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
		return c.State == supervise.Running && c.Trouble == ""
	})
	if c := s.camera("cam2"); c.State != supervise.Stopped {
		t.Errorf("got %+v, want that cam2 stays stopped", c)
	}
	if page := s.page(); !strings.Contains(page, "cam1: <b>running</b>") {
		t.Error("no page at the new address")
	}
	eventually(t, "the new log", func() bool {
		b, _ := os.ReadFile(filepath.Join(s.dir, "box-controller.log"))
		return strings.Contains(string(b), `"message":"configuration reloaded"`)
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
