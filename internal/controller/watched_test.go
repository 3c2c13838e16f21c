package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"framekeeper/internal/status"
	"framekeeper/internal/testkit/redistest"
)

// allWell has an answer when every camera of both boxes has been well for a moment.
const allWell = `sum(min_over_time(framekeeper_camera_ready[2s])) == 4`

// watchedRate is how many frames a second the first box's cameras send unasked.
const watchedRate = 15

// watched are two boxes with a camera of the same name, looked at by a real
// Prometheus.
type watched struct {
	*watcher
	server    *redistest.Server // of the first box; the second has its own
	one, two  setup
	stopTwo   func() error
	throttled string // a file with what the firmware says

	read map[string]bool // alerts whose text was looked at
}

// feedScript is a camera that may be taken away, or send broken images too.
const feedScript = `#!/bin/sh
while cat "$1/frame.jpg"; do
	[ ! -e "$1/broken.jpg" ] || cat "$1/broken.jpg"
	sleep 0.1
done
`

// watchBoxes starts it all.
func watchBoxes(t *testing.T) *watched {
	t.Helper()
	fetched(t, "prometheus") // or skip before the rest is made
	w := &watched{server: redistest.Start(t), read: map[string]bool{}}
	w.one = boxOf(t, w.server.URL(), 2)
	w.throttled = filepath.Join(w.one.dir, "throttled")
	for name, text := range map[string]string{"feed.sh": feedScript, "vcgencmd": "#!/bin/sh\ncat " + w.throttled + "\n", "throttled": "throttled=0x0\n"} {
		if err := os.WriteFile(filepath.Join(w.one.dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.feed(t, "frame.jpg", 1)
	// Little memory and disk, so that an outage of seconds fills them.
	w.one.adjust(t, "[delivery]", "[delivery]\nmode = \"both\"\nretain_bytes = \"1MiB\"\nspool_max_bytes = \"1MiB\"")
	w.one.adjust(t, "watchdog_timeout", "restart_backoff_max = \"1s\"\nwatchdog_timeout")
	w.one.adjust(t, "width = 64\nheight = 48\npublish_fps = 5", fmt.Sprintf("width = 320\nheight = 240\npublish_fps = %d", watchedRate))
	w.one.add(t, fmt.Sprintf("[[camera]]\nname = \"feed\"\nsource = \"exec:%s %s\"\nstall_timeout = \"500ms\"\nmax_reopens = 1\n", filepath.Join(w.one.dir, "feed.sh"), w.one.dir))

	w.two = boxOf(t, "redis://"+redistest.FreeAddr(t)+"/0", 1)
	w.two.adjust(t, "[delivery]", "embedded = true\n[delivery]")
	w.two.adjust(t, `box = "box1"`, `box = "box2"`)
	w.one.begin(t)
	_, w.stopTwo = w.two.begin(t)
	w.watcher = startPrometheus(t, w.one.http, w.two.http)
	return w
}

// adjust changes the box's configuration before it begins.
func (s setup) adjust(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(s.config)
	if err != nil || !strings.Contains(string(text), from) {
		t.Fatalf("%s has no %q: %v", s.config, from, err)
	}
	if err := os.WriteFile(s.config, []byte(strings.ReplaceAll(string(text), from, to)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s setup) add(t *testing.T, text string) {
	t.Helper()
	s.adjust(t, "[[camera]]\nname = \"cam1\"", text+"[[camera]]\nname = \"cam1\"")
}

// feed makes an image for the feed, of which only a part may be there.
func (w *watched) feed(t *testing.T, name string, part float64) {
	t.Helper()
	var out bytes.Buffer
	if err := jpeg.Encode(&out, image.NewGray(image.Rect(0, 0, 320, 240)), nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(w.one.dir, name)
	if err := os.WriteFile(path+".new", out.Bytes()[:int(float64(out.Len())*part)], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// ask keeps requests coming until the test is over.
func (w *watched) ask(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	client := w.server.Client()
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			for _, camera := range []string{"cam1", "feed"} {
				_ = client.Publish(ctx, "request/"+camera, `{"timeout_ms": 500}`).Err() // Redis is away at times
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func (w *watched) remove(name string) { _ = os.Remove(filepath.Join(w.one.dir, name)) }

func (w *watched) firmware(t *testing.T, flags string) {
	t.Helper()
	if err := os.WriteFile(w.throttled, []byte("throttled="+flags+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (w *watched) command(t *testing.T, command, camera string) {
	t.Helper()
	text := fmt.Sprintf(`{"command": %q, "camera": %q}`, command, camera)
	if err := w.server.Client().Publish(t.Context(), "control/box1", text).Err(); err != nil {
		t.Fatal(err)
	}
}

// reload has both boxes read their configurations again, the first one a changed
// one.
func (w *watched) reload(t *testing.T, from, to string) {
	t.Helper()
	w.one.adjust(t, from, to)
	hangUp(t)
}

// killRedisOfTwo kills the second box's own Redis, if it runs.
func (w *watched) killRedisOfTwo(t *testing.T) {
	t.Helper()
	_, body := w.two.visit(t, "/readyz")
	var h status.Ready
	if err := json.Unmarshal(body, &h); err != nil || h.Redis == nil {
		t.Fatalf("/readyz: %v, %s", err, body)
	}
	if h.Redis.PID > 0 {
		_ = syscall.Kill(h.Redis.PID, syscall.SIGKILL) // it may be gone by now
	}
}

func (w *watched) socket(camera string) string {
	return filepath.Join(w.one.state, camera, "agent.sock")
}

func (w *watched) spool() string { return filepath.Join(w.one.dir, "spool") }
