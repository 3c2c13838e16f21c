package box

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"framekeeper/internal/testkit/redistest"
)

const bootBox = `state_dir = "STATE"
[redis]
url = "redis://REDIS/0"
[delivery]
spool_dir = "STATE/spool"
[log]
format = "json"
[controller]
box = "box1"
log_interval = "200ms"
http = "HTTP"
restart_backoff_max = "1s"
[client]
images_dir = "DIR/images"
[[camera]]
name = "cam1"
source = "http://user:CAMERA@SERVER/good"
stall_timeout = "500ms"
max_reopens = 2
publish_fps = 10
`

// TestAnyOrder: Redis, the camera and the box come in every order there is, on
// a box that can remember and on one whose state_dir cannot be written.
func TestAnyOrder(t *testing.T) {
	t.Parallel()
	orders := [][]string{
		{"box", "camera", "redis"}, {"redis", "box", "camera"}, {"box", "redis", "camera"},
		{"camera", "box", "redis"}, {"redis", "camera", "box"}, {"camera", "redis", "box"},
	}
	if testing.Short() {
		orders = orders[:2]
	}
	for i, order := range orders {
		state := "DIR/state"
		if i%2 == 1 {
			state = "DIR/config.toml/state" // below a file nobody can make it, not even root
		}
		t.Run(strings.Join(order, ", ")+" with "+filepath.Base(filepath.Dir(state)), func(t *testing.T) {
			port := redistest.FreePort(t)
			redis, camera := "127.0.0.1:"+strconv.Itoa(port), redistest.FreeAddr(t)
			b := newBox(t, strings.NewReplacer("STATE", state, "REDIS", redis, "SERVER", camera, "CAMERA", cameraSecret).Replace(bootBox))
			client := b.start("client", "run", "--no-requests")
			for _, part := range order {
				switch part {
				case "box":
					b.start("controller")
					b.await("the agent's process", func() bool { return b.health().Agents["cam1"].PID > 0 })
				case "camera":
					startCamera(t, camera)
				case "redis":
					redistest.Start(t, redistest.WithPort(port))
				}
			}
			b.awaitFrames(5, "cam1")
			b.awaitHealthy()
			if err := client.end(syscall.SIGTERM); err != nil {
				t.Errorf("client: %v", err)
			}
		})
	}
}

// TestNoNetwork boots a box that has no network but loopback, and a Redis far
// away: it runs, says what is missing, and keeps its frames.
func TestNoNetwork(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root, for a network namespace")
	}
	text := strings.NewReplacer("STATE", "DIR/state", "REDIS", "203.0.113.7:6379", "http://user:CAMERA@SERVER/good", "test:").Replace(bootBox)
	b := newBox(t, text)
	out := &output{}
	cmd := exec.Command("unshare", "--net", "sh", "-c", `ip link set lo up && exec "$0" --config "$1"`, filepath.Join(os.Getenv(binVariable), "controller"), b.config)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	b.await("frames on disk, and the reason for it in the log", func() bool {
		return b.spooled("state", "spool") > 10 && strings.Contains(out.String(), `"cause":"unreachable"`)
	})
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := <-done; err != nil {
		t.Errorf("controller: %v\n%s", err, out)
	}
}

// TestPowerCuts ends everything at once while it writes, and empties files that
// the disk had not got yet. The box starts again, and its readers can tell.
func TestPowerCuts(t *testing.T) {
	t.Parallel()
	cuts := 6
	if testing.Short() {
		cuts = 2
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	b := newBox(t, strings.NewReplacer("REDIS", redistest.FreeAddr(t), `watchdog_timeout = "2s"`, "").Replace(embeddedBox))
	for cut := range cuts {
		client := b.start("client", "run", "--no-requests")
		controller := b.start("controller")
		h := b.awaitHealthy()
		b.awaitFrames(5, "cam1", "cam2")
		if cut%2 == 1 { // while frames go to disk
			_ = syscall.Kill(h.Redis.PID, syscall.SIGSTOP)
			b.await("frames on disk", func() bool { return b.spooled("spool") > 10 })
		}
		for _, pid := range []int{controller.pid, h.Agents["cam1"].PID, h.Agents["cam2"].PID, h.Redis.PID, client.pid} {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		_, _ = controller.finish(), client.finish() // by force
		t.Logf("cut %d emptied %d files", cut, b.empty(random))
	}
	client := b.start("client", "run", "--no-requests")
	controller := b.start("controller")
	b.awaitHealthy()
	b.awaitFrames(20, "cam1", "cam2")
	if err := client.end(syscall.SIGTERM); err != nil || client.summaryOf("undeclared") != "0" {
		t.Errorf("client: got %v and %s undeclared, want 0\n%s", err, client.summaryOf("undeclared"), client.out.String())
	}
	if err := controller.end(syscall.SIGTERM); err != nil {
		t.Errorf("controller: %v", err)
	}
}

// spooled counts cam1's frames on disk.
func (b *box) spooled(dir ...string) int {
	frames, err := filepath.Glob(filepath.Join(b.path(dir...), "cam1", "*", "*", "*.frame"))
	if err != nil {
		b.Fatal(err)
	}
	return len(frames)
}

// empty truncates one in three of the files of the box to nothing: their names
// had reached the disk, and their content had not.
func (b *box) empty(random *rand.Rand) (n int) {
	b.Helper()
	for _, root := range []string{"state", "spool", "images"} {
		err := filepath.WalkDir(b.path(root), func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || random.IntN(3) > 0 {
				return err
			}
			n++
			return os.Truncate(path, 0)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return n
}
