package box

import (
	"net"
	"strings"
	"syscall"
	"testing"

	"framekeeper/internal/status"
	"framekeeper/internal/testkit/redistest"
)

const embeddedBox = `state_dir = "DIR/state"
[redis]
url = "redis://REDIS/0"
embedded = true
[delivery]
spool_dir = "DIR/spool"
[log]
format = "json"
[controller]
box = "box1"
log_interval = "200ms"
http = "HTTP"
watchdog_timeout = "2s"
[client]
images_dir = "DIR/images"
[[camera]]
name = "cam1"
source = "test:"
width = 320
height = 240
publish_fps = 15
[[camera]]
name = "cam2"
source = "test:"
width = 320
height = 240
publish_fps = 15
`

// TestEmbeddedRedis is a box with a server of its own through what may happen
// to that.
func TestEmbeddedRedis(t *testing.T) {
	t.Parallel()
	addr := redistest.FreeAddr(t)
	b := newBox(t, strings.ReplaceAll(embeddedBox, "REDIS", addr))
	client := b.start("client", "run", "--no-requests") // in any order
	controller := b.start("controller")
	first := b.awaitHealthy()
	if text := controller.out.String(); strings.Contains(text, "not reachable yet") {
		t.Errorf("the start complains of the server that it starts itself:\n%s", text)
	}
	b.awaitFrames(10, "cam1", "cam2")

	if err := syscall.Kill(first.Redis.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.await("another redis-server", func() bool {
		r := b.health().Redis
		return r != nil && r.Restarts == 1 && r.State == status.ProcessRunning
	})
	b.awaitFrames(10, "cam1", "cam2")

	stopped := b.awaitHealthy().Redis.PID
	if err := syscall.Kill(stopped, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	b.await("the replacement of one that hung", func() bool {
		r := b.health().Redis
		return r != nil && r.Hangs == 1 && r.State == status.ProcessRunning
	})
	b.awaitFrames(10, "cam1", "cam2")
	if alive(stopped) {
		t.Error("the redis-server that hung is still there")
	}
	last := b.awaitHealthy()

	if err := client.end(syscall.SIGTERM); err != nil {
		t.Errorf("client: got %v, want exit code 0", err)
	}
	for _, row := range []string{"undeclared", "trimmed", "lost"} {
		if got := client.summaryOf(row); got != "0" {
			t.Errorf("%s: got %s, want 0, in\n%s", row, got, client.out.String())
		}
	}
	t.Logf("stored %d and %d images", b.images("cam1"), b.images("cam2"))

	// One camera more needs more memory, and so another process.
	b.write(strings.ReplaceAll(embeddedBox, "REDIS", addr) + "[[camera]]\nname = \"cam3\"\nsource = \"test:\"\n")
	controller.signal(syscall.SIGHUP)
	b.await("a third camera, and the room for it", func() bool {
		r := b.health().Redis
		return r != nil && r.State == status.ProcessRunning && r.PID != last.Redis.PID && r.Memory > last.Redis.Memory
	})
	last = b.awaitHealthy()

	// Stopped, it could not end by itself; the kernel does it.
	if err := syscall.Kill(last.Redis.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	_ = controller.end(syscall.SIGKILL)
	b.await("the end of what the killed controller ran", func() bool {
		return !alive(last.Redis.PID) && !alive(last.Agents["cam1"].PID) && !alive(last.Agents["cam2"].PID) && !alive(last.Agents["cam3"].PID)
	})
	if c, err := net.Dial("tcp", addr); err == nil {
		_ = c.Close()
		t.Error("somebody still listens at the address")
	}

	// And a box that starts again, and ends in order.
	controller = b.start("controller")
	h := b.awaitHealthy()
	if err := controller.end(syscall.SIGTERM); err != nil {
		t.Errorf("controller: got %v, want exit code 0", err)
	}
	if alive(h.Redis.PID) {
		t.Error("redis-server outlived the controller")
	}
	if text := controller.out.String(); strings.Contains(text, "did not stop and was killed") || strings.Contains(text, "Frames are being lost") {
		t.Error("the end was not in order")
	}
}
