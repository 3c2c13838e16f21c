package controller

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"framekeeper/internal/agentapi"
	commands "framekeeper/internal/control"
	"framekeeper/internal/status"
	"framekeeper/internal/testkit/redistest"
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
	build := exec.Command("go", "build", "-tags", "noopencv", "-o", path, "framekeeper/cmd/cam-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return out, err
	}
	return os.ReadFile(path)
})

// scene is a box with real agents.
type scene struct {
	setup
	t      *testing.T
	box    string
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
	s := &scene{t: t, box: "box1", server: redistest.Start(t)}
	s.setup = newSetup(t, s.server.URL(), "")
	s.useRealAgent(t)
	s.configure("", twoCameras)
	s.stderr, s.end = s.begin(t)
	eventually(t, "two agents that work", func() bool { return s.status().OK })
	return s
}

// useRealAgent puts cam-agent in the place of its stand-in.
func (s setup) useRealAgent(t *testing.T) {
	t.Helper()
	program, err := buildAgent()
	if err != nil {
		t.Fatalf("build cam-agent: %v\n%s", err, program)
	}
	path := filepath.Join(s.dir, "cam-agent")
	if err := os.WriteFile(path+".new", program, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
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
	call, err := commands.NewCall(s.box, fields)
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
		a, err := call.Do(ctx, cfg)
		failed <- err
		if err == nil {
			got <- a.Replies[0]
		}
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

func (s *scene) status() status.Box {
	s.t.Helper()
	return result[status.Box](s.t, s.command(commands.Status, ""))
}

func (s *scene) camera(name string) status.Camera {
	s.t.Helper()
	for _, c := range s.status().Cameras {
		if c.Name == name {
			return c
		}
	}
	s.t.Fatalf("no camera %s in the status", name)
	return status.Camera{}
}

func TestCommandsToRealAgents(t *testing.T) {
	s := newScene(t)
	before := s.status()
	r := s.command(commands.Restart, "cam1")
	now := result[status.Process](t, r)
	if r.Status != commands.OK || now.PID == before.Cameras[0].PID || !now.Ready || now.State != status.ProcessRunning {
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

	if r = s.command(commands.Stop, "cam1"); r.Status != commands.OK || result[status.Process](t, r).State != status.ProcessStopped {
		t.Errorf("stop: got %+v", r)
	}
	if c := s.camera("cam1"); c.State != status.ProcessStopped || c.PID != 0 || c.Health != status.Failed || !strings.Contains(c.Advice, "client control --box box1 start cam1") {
		t.Errorf("after stop: got %+v", c)
	}
	if page := s.page(); !strings.Contains(page, `<a href="#camera-cam1">cam1</a> is stopped`) || !strings.Contains(page, "stopped by command") {
		t.Errorf("the page does not show that it is stopped:\n%s", page)
	}
	if r = s.send(map[string]any{"command": commands.Set, "camera": "cam1", "quality": 40})(); !strings.HasPrefix(r.Error, "camera cam1 is stopped: ") {
		t.Errorf("set a stopped camera: got %+v", r)
	}
	if r = s.command(commands.Start, "cam1"); r.Status != commands.OK || result[status.Process](t, r).State != status.ProcessRunning {
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
		for _, amid := range []bool{false, true} { // while it is carried out, so that the answer meets the fault
			wait := s.send(map[string]any{"command": commands.Restart, "camera": "cam1"})
			if amid {
				eventually(t, "the old agent's end", func() bool { return strings.Count(s.stderr.String(), "Agent stopped camera=cam1") > restarts })
			}
			f.hurt()
			r := wait()
			restarts++
			if now := result[status.Process](t, r); r.Status != commands.OK || now.Restarts != restarts {
				t.Errorf("%s, amid %v: got %+v, want ok and %d restarts in all", f.name, amid, r, restarts)
			}
			if c := s.camera("cam1"); c.Restarts != restarts {
				t.Errorf("%s, amid %v: %d restarts in all, want %d", f.name, amid, c.Restarts, restarts)
			}
			eventually(t, "all to be well again", func() bool { return s.status().OK })
		}
	}
}
