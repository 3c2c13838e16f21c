package agent

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/frame"
)

// spooled are the IDs of the frames on disk below dir.
func spooled(t *testing.T, dir string) (ids []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if id, ok := strings.CutSuffix(filepath.Base(path), ".frame"); ok && err == nil {
			ids = append(ids, id)
		}
		return nil // what is removed meanwhile
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// With another spool_dir an agent used to forget what waited in the one before.
func TestFramesFollowSpoolDir(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for _, c := range []struct {
		name      string
		elsewhere func(t *testing.T, dir string) string // where spool_dir is from then on
		says      string
	}{
		{"on the same disk", func(_ *testing.T, dir string) string { return filepath.Join(dir, "a", "b") }, "the unsent frames were moved to the new one"},
		{"on another disk", otherDisk, "the old one has unsent frames"},
		{"where something is", func(t *testing.T, dir string) string {
			place := filepath.Join(dir, "full")
			if err := os.MkdirAll(filepath.Join(place, "greencam1", "quarantine"), 0o755); err != nil {
				t.Fatal(err)
			}
			return place
		}, "the old one has unsent frames"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			config := writeConfig(t, server.URL(), "", tiny+"publish_fps = 30\n")
			old := filepath.Join(filepath.Dir(config), "spool")
			leaveFrames(t, server, config, old)
			waiting := spooled(t, old)
			place := c.elsewhere(t, filepath.Dir(config))
			replaceIn(t, config, old, place)

			stop, log := startAgent(t, config)
			testkit.Eventually(t, "the line in the log", func() bool { return strings.Contains(log.String(), c.says) })
			server.Restart()
			testkit.Eventually(t, "all that waited in the stream", func() bool {
				var got []string
				for _, m := range entries(t, server.Client()) {
					got = append(got, m.Header.ID.String())
				}
				return !slices.ContainsFunc(waiting, func(id string) bool { return !slices.Contains(got, id) })
			})
			testkit.Eventually(t, "empty spools", func() bool { return len(spooled(t, old))+len(spooled(t, place)) == 0 })
			if err := stop(); err != nil {
				t.Fatal(err)
			}

			// From then on the new one is used.
			server.Kill()
			_, log = startAgent(t, config)
			testkit.Eventually(t, "frames in the new place", func() bool { return len(spooled(t, place)) > 0 })
			if left := spooled(t, old); len(left) > 0 || strings.Contains(log.String(), "spool_dir has changed") {
				t.Errorf("a later start leaves %d frames in the old place", len(left))
			}
		})
	}
}

// leaveFrames lets an agent write frames to a spool while its Redis is away, and
// ends both.
func leaveFrames(t *testing.T, server *redistest.Server, config, spool string) {
	t.Helper()
	stop, _ := startAgent(t, config)
	testkit.Eventually(t, "frames", func() bool { return server.Client().XLen(t.Context(), "frames:greencam1").Val() > 5 })
	server.Kill()
	testkit.Eventually(t, "frames on disk", func() bool { return len(spooled(t, spool)) > 10 })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// otherDisk is a directory on another file system.
func otherDisk(t *testing.T, dir string) string {
	t.Helper()
	place, err := os.MkdirTemp("/dev/shm", "spool")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(place) })
	var here, there syscall.Stat_t
	if err := syscall.Stat(dir, &here); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Stat(place, &there); err != nil {
		t.Fatal(err)
	}
	if here.Dev == there.Dev {
		t.Skip("the temporary directory is in /dev/shm already: there is no other disk to try")
	}
	return place
}

func replaceIn(t *testing.T, file, from, to string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), from, to, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What waits in a directory that cannot be read is unknown, and readers get it
// declared so.
func TestASpoolThatCannotBeReadAnyMore(t *testing.T) {
	testkit.NeedRedis(t)
	for name, ruin := range map[string]func(t *testing.T, place string){
		"no directory": func(t *testing.T, place string) {
			if err := os.WriteFile(place, nil, 0o600); err != nil { // not even root can look below a file
				t.Fatal(err)
			}
		},
		"a disk that hangs": func(t *testing.T, place string) {
			t.Setenv("NOTIFY_SOCKET", "@nobody")
			t.Setenv("WATCHDOG_USEC", "1000000")                 // as long as that one is waited for
			if err := syscall.Mkfifo(place, 0o600); err != nil { // opening it waits until somebody writes
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if f, err := os.OpenFile(place, os.O_RDWR, 0); err == nil {
					_ = f.Close()
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			config := writeConfig(t, server.URL(), "", tiny+"publish_fps = 30\n")
			old := filepath.Join(filepath.Dir(config), "spool")
			leaveFrames(t, server, config, old)
			server.Restart()
			if err := os.RemoveAll(filepath.Join(old, "greencam1")); err != nil {
				t.Fatal(err)
			}
			ruin(t, filepath.Join(old, "greencam1"))
			replaceIn(t, config, old, old+"2")
			_, log := startAgent(t, config)
			testkit.Eventually(t, "the line in the log", func() bool {
				return strings.Contains(log.String(), "the old one cannot be read: its unsent frames are given up")
			})
			testkit.Eventually(t, "an unclean start of which nothing is known", func() bool {
				last := lastStart(t, server)
				return last.Clean != nil && !*last.Clean && last.Previous != nil && last.Previous.IsZero()
			})
		})
	}
}

// What Redis has taken from a disk that has become read-only cannot be removed
// there. A new spool_dir must be used all the same.
func TestSpoolDirLeavesAReadOnlyDisk(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	server := redistest.Start(t)
	config := writeConfig(t, server.URL(), "", tiny+"publish_fps = 30\n")
	old := filepath.Join(filepath.Dir(config), "spool")
	if err := os.Mkdir(old, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", old, "tmpfs", 0, ""); err != nil {
		t.Skipf("cannot mount a file system to make read-only: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(old, syscall.MNT_DETACH) })
	leaveFrames(t, server, config, old)
	if err := syscall.Mount("", old, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	waiting, place := spooled(t, old), filepath.Join(filepath.Dir(config), "spool2")
	replaceIn(t, config, old, place)

	stop, log := startAgent(t, config)
	testkit.Eventually(t, "the line in the log", func() bool { return strings.Contains(log.String(), "the old one has unsent frames") })
	server.Restart()
	testkit.Eventually(t, "all that waited in the stream", func() bool {
		n := server.Client().XRange(t.Context(), "frames:greencam1", waiting[len(waiting)-1], waiting[len(waiting)-1]).Val()
		return len(n) == 1
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	startAgent(t, config)
	testkit.Eventually(t, "frames", func() bool { return server.Client().XLen(t.Context(), "frames:greencam1").Val() > int64(len(waiting)) })
	server.Kill()
	testkit.Eventually(t, "frames in the new place", func() bool { return len(spooled(t, place)) > 0 })
}

// An agent that waits for the old disk longer than for its first sign of life is
// waited for would be killed, again and again.
func TestPatienceWithTheOldDisk(t *testing.T) {
	for usec, want := range map[string]time.Duration{"": moveTime, "1000000": time.Second, "60000000": moveTime} {
		t.Setenv("NOTIFY_SOCKET", "@nobody")
		t.Setenv("WATCHDOG_USEC", usec)
		if got := moveLimit(); got != want {
			t.Errorf("watchdog of %s µs: got %v, want %v", usec, got, want)
		}
	}
}

// lastStart is the header of the stream's last entry that declares a start.
func lastStart(t *testing.T, server *redistest.Server) (last frame.Header) {
	t.Helper()
	all, err := server.Client().XRange(t.Context(), "frames:greencam1", "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		m, err := frame.ParseEntry(e.Values)
		if err != nil {
			t.Fatal(err)
		}
		if m.Header.Status == frame.StatusStarted {
			last = m.Header
		}
	}
	return last
}
