package camera

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"framekeeper/internal/testkit/proctest"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/redisconn"
)

const (
	cameraName = "cam"
	// patient is for what is only waited for. Everything takes ten times as long
	// in a machine without KVM.
	patient = 30 * time.Second
)

// world is what all rows have: the devices, a Redis, the program.
type world struct {
	device   string
	loopback string
	agent    string
	redis    *redistest.Server
	way      redisconn.Config
	outcomes []outcome
}

func newWorld(t *testing.T, device string) *world {
	w := &world{device: device, loopback: os.Getenv(envLoopback), agent: os.Getenv(envAgent), way: redisconn.Default()}
	// The programs refuse variables of ours that they do not know.
	for _, name := range []string{envDevice, envLoopback, envAgent} {
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	w.redis = redistest.Start(t)
	w.way.URL = w.redis.URL()
	return w
}

// setup is a camera as the configuration names it.
type setup struct {
	source        string
	width, height int
	fps           float64
	format        string // "": auto
	controls      string
	reopens       int // 0: the default
}

// quick is a camera that costs little: what a row waits for is then the agent
// and not the machine.
func (w *world) quick() setup { return setup{source: w.device, width: 320, height: 180, fps: 15} }

// scene is one agent on one camera, and who watches it.
type scene struct {
	*testing.T
	*world
	dir     string
	began   time.Time
	agent   *proctest.Process
	watcher *watcher
}

// stage starts an agent and waits for its first frame.
func (w *world) stage(t *testing.T, s setup) *scene {
	t.Helper()
	sc := &scene{T: t, world: w, dir: t.TempDir()}
	sc.configure(s)
	sc.began = time.Now()
	sc.watcher = watch(t, w.way)
	sc.start()
	sc.frame(sc.began)
	return sc
}

func (s *scene) config() string { return filepath.Join(s.dir, "config.toml") }

// configure writes the agent's configuration. A request may wait long, so that
// an answer that comes at once is distinguished from one that comes at its timeout.
func (s *scene) configure(c setup) {
	s.Helper()
	text := fmt.Sprintf("state_dir = %q\n[redis]\nurl = %q\n[delivery]\nmode = \"pubsub\"\nspool_dir = %q\n[log]\nformat = \"json\"\n"+
		"[[camera]]\nname = %q\nsource = %q\nwidth = %d\nheight = %d\nfps = %v\nformat = %q\ncontrols = { %s }\nmax_reopens = %d\n"+
		"publish_fps = %v\nrequest_timeout = %q\nstatus_interval = \"500ms\"\n",
		filepath.Join(s.dir, "state"), s.redis.URL(), filepath.Join(s.dir, "spool"),
		cameraName, c.source, c.width, c.height, c.fps, cmp.Or(c.format, "auto"), c.controls, cmp.Or(c.reopens, camera.Default().MaxReopens), c.fps, requestTimeout)
	if err := os.WriteFile(s.config(), []byte(text), 0o600); err != nil {
		s.Fatal(err)
	}
}

func (s *scene) start() {
	s.Helper()
	agent, err := proctest.Spawn(s.dir, nil, s.world.agent, "--config", s.config())
	if err != nil {
		s.Fatal(err)
	}
	s.agent = agent
	s.Cleanup(func() {
		_ = agent.End(syscall.SIGTERM) // a row that cares looks itself
		if s.Failed() {
			s.Logf("the agent's log:\n%s%s", agent.Tail(40), agent.Said())
		}
	})
}

// frame waits for a frame exposed after t and returns when it arrived.
func (s *scene) frame(t time.Time) time.Time {
	s.Helper()
	at, ok := s.watcher.frameAfter(s.Context(), t, patient)
	if !ok {
		s.Fatalf("no frame within %s; the camera's last status: %+v", patient, s.watcher.last())
	}
	return at
}

// control sets vivid's controls, faults among them, as anybody could.
func (w *world) control(t *testing.T, settings ...string) {
	t.Helper()
	w.run(t, "v4l2-ctl", "-d", w.device, "-c", strings.Join(settings, ","))
}

// run does a command that must succeed.
func (w *world) run(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// sleep lets the fault last.
func (s *scene) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.Context().Done():
	}
}
