package agent

import (
	"context"
	"testing"
	"time"

	"framekeeper/internal/configfile"
	"framekeeper/internal/logging"
	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
)

// An end begins to write at once what is unsent in memory, because the line is slow or
// nobody listens: a slow card needs the time. That a request still waits for its frame
// changes nothing.
func TestAnEndWritesAtOnceWhatIsInMemory(t *testing.T) {
	testkit.NeedRedis(t)
	for _, c := range []struct {
		name     string
		delivery string
		limit    int // of the line, bytes a second
		waits    bool
	}{
		{"a slow line", "", 1_000_000, false},
		{"a slow line, and a request waits", "", 1_000_000, true},
		{"nobody listens", "mode = \"pubsub\"\n", 0, false},
		{"nobody listens, and a request waits", "mode = \"pubsub\"\n", 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := newOutage(t, "[delivery]\nretain_bytes = \"96MiB\"\n"+c.delivery,
				"source = \"test:\"\nwidth = 640\nheight = 480\nencoding = \"raw\"\npublish_fps = 10\nstall_timeout = \"30s\"\n")
			cam := &switchable{}
			end := startFaulty(t, o.config, cam)
			testkit.Eventually(t, "frames", func() bool { return current(t, o.server).Outbox.Added > 0 })
			o.line.Limit(redistest.ToServer, c.limit)
			time.Sleep(2500 * time.Millisecond) // 23 MB, of which the line takes 3
			cam.set(silentFault)
			if c.waits {
				o.server.Do("PUBLISH", "request/greencam1", `{"timeout_ms":20000}`)
				time.Sleep(100 * time.Millisecond)
			}
			before := len(spooled(t, o.spool)) // none, unless this machine is so busy that the line looks dead
			began := time.Now()
			ended := end()
			testkit.Eventually(t, "frames on disk", func() bool { return len(spooled(t, o.spool)) > before || before > 15 })
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("the first frame is on disk %v after the end began", took)
			}
			must(t, <-ended)
			took, n := time.Since(began), len(o.files(t))
			t.Logf("the end took %v; %d frames are on disk, %d were before", took.Round(time.Millisecond), n, before)
			if took > 5*time.Second || n < 5 {
				t.Errorf("the end took %v, and %d frames are on disk", took, n)
			}
		})
	}
}

// startFaulty runs the agent with a camera that suffers from what the test chooses. end
// begins its end, and returns its outcome.
func startFaulty(t *testing.T, path string, cam *switchable) (end func() <-chan error) {
	t.Helper()
	cfg, err := configfile.Load(path)
	must(t, err)
	out := &testkit.Log{}
	log, closer, err := logging.New(cfg.Log, "cam-agent", out)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	joined := make(chan struct{})
	go func() {
		defer close(joined)
		done <- pipeline(ctx, cfg, cfg.Cameras[0], driver{open: faultyOpener(cam.get)}, log)
	}()
	t.Cleanup(func() { cancel(); <-joined; _ = closer.Close() })
	return func() <-chan error { cancel(); return done }
}
