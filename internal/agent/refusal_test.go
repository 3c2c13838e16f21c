package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
)

// askSteadily makes n requests at a steady rate, each whether or not the ones before
// were answered, and fails unless all get a frame.
func (a *asker) askSteadily(t *testing.T, n int, every time.Duration, fields map[string]any) {
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex // guards slowest and failures
	var slowest time.Duration
	failures := map[string]int{}
	for range n {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
			defer cancel()
			began := time.Now()
			_, err := a.Request(ctx, fields)
			mu.Lock()
			defer mu.Unlock()
			slowest = max(slowest, time.Since(began))
			if err != nil {
				failures[err.Error()]++
			}
		})
		time.Sleep(every)
	}
	all.Wait()
	t.Logf("%d requests, the slowest answered after %v", n, slowest.Round(time.Millisecond))
	for reason, count := range failures {
		t.Errorf("%d of %d requests were not answered with a frame: %s", count, n, reason)
	}
}

// refusals are ways in which Redis refuses the stream, and only the stream.
var refusals = map[string]func(server *redistest.Server){
	"an entry of somebody else": func(s *redistest.Server) { s.Do("XADD", "frames:greencam1", "*", "a", "b") },
	"no permission to add":      func(s *redistest.Server) { s.Do("ACL", "SETUSER", "default", "-xadd") },
	"out of memory":             func(s *redistest.Server) { s.ConfigSet("maxmemory", "100kb") },
}

// large is a camera of whose answers memory has room for nine.
const large = "source = \"test:\"\nwidth = 640\nheight = 480\nencoding = \"raw\"\n"

// While Redis refuses the stream, answers go out all the same: those that wait for it
// make room, wherever they are.
func TestRequestsAreAnsweredWhileRedisRefusesTheStream(t *testing.T) {
	testkit.NeedRedis(t)
	for _, mode := range []string{"stream", "both"} {
		for name, refuse := range refusals {
			t.Run(mode+", "+name, func(t *testing.T) {
				t.Parallel()
				server := redistest.Start(t)
				_, log := startAgent(t, writeConfig(t, server.URL(), fmt.Sprintf("[delivery]\nmode = %q\nretain_bytes = \"8MiB\"\n", mode), large))
				a := newAsker(t, server.URL())
				a.ask(t, nil)
				refuse(server)
				a.askSteadily(t, 40, 100*time.Millisecond, map[string]any{"timeout_ms": 10_000})
				if !strings.Contains(log.String(), "Redis does not accept frames") {
					t.Error("Redis has refused nothing")
				}
			})
		}
	}
}

// When the disk does not help either, frames are lost and declared, and requests are
// answered all the same.
func TestRequestsAreAnsweredWhileDiskAndRedisRefuse(t *testing.T) {
	testkit.NeedRedis(t)
	for name, ruin := range map[string]func(t *testing.T, dir string){
		"a full disk":          func(t *testing.T, dir string) { mountSmall(t, dir); fillDisk(t, dir) },
		"a disk that fills up": mountSmall,
		"a read-only disk": func(t *testing.T, dir string) {
			mountSmall(t, dir)
			if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			config := writeConfig(t, server.URL(), "[delivery]\nretain_bytes = \"8MiB\"\n", large)
			ruin(t, filepath.Join(filepath.Dir(config), "spool"))
			startAgent(t, config)
			a := newAsker(t, server.URL())
			a.ask(t, nil)
			refusals["no permission to add"](server)
			a.askSteadily(t, 40, 100*time.Millisecond, map[string]any{"timeout_ms": 10_000})
		})
	}
}

// mountSmall mounts a disk of 16 MiB at dir.
func mountSmall(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("cannot mount a small disk: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
}

func fillDisk(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 64<<10))
	}
	_ = f.Close()
}

// In delivery pubsub the frames that nobody hears fill the log. An asker that comes
// then is answered at once.
func TestAnswersDoNotWaitForFramesThatNobodyHears(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	startAgent(t, writeConfig(t, server.URL(), "[delivery]\nmode = \"pubsub\"\nretain_bytes = \"8MiB\"\n", large+"publish_fps = 10\n"))
	testkit.Eventually(t, "memory is full", func() bool { return current(t, server).Outbox.Dropped > 5 })
	slow := 0 // as a busy machine may be now and then
	for range 10 {
		a := newAsker(t, server.URL())
		began := time.Now()
		a.ask(t, map[string]any{"timeout_ms": 5000})
		if time.Since(began) > 800*time.Millisecond {
			slow++
		}
		a.end()
		time.Sleep(300 * time.Millisecond)
	}
	if slow > 5 {
		t.Errorf("%d of 10 answers took more than 800 ms: they wait until the frames are tried again", slow)
	}
}
