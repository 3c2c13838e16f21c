package client

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// mountSmall puts images_dir on a file system of 1 MiB.
func (b *bench) mountSmall() {
	b.t.Helper()
	if err := os.MkdirAll(b.images, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", b.images, "tmpfs", 0, "size=1m"); err != nil {
		b.t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	b.t.Cleanup(func() {
		if err := unix.Unmount(b.images, unix.MNT_DETACH); err != nil {
			b.t.Errorf("unmount: %v", err)
		}
	})
}

// refuseImages makes the disk refuse every image, and allow takes that back.
func (b *bench) refuseImages(how string) (allow func()) {
	b.t.Helper()
	if how == "read-only" { // the lock keeps images_dir itself writable
		dir := filepath.Join(b.images, "greencam1")
		err := unix.Mount(dir, dir, "", unix.MS_BIND, "")
		if err == nil {
			err = unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
		}
		if err != nil {
			b.t.Fatalf("mount read-only: %v", err)
		}
		return sync.OnceFunc(func() {
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				b.t.Errorf("unmount: %v", err)
			}
		})
	}
	filler := filepath.Join(b.images, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); err == nil {
		b.t.Fatal("the disk is not full")
	}
	return sync.OnceFunc(func() {
		if err := os.Remove(filler); err != nil {
			b.t.Error(err)
		}
	})
}

// A group's worker whose disk refuses acknowledges nothing that it did not keep, however
// many sessions are lost meanwhile: neither when it is stored at last, nor at an end
// before that.
func TestPoolNeverAcknowledgesWhatItDidNotKeep(t *testing.T) {
	for _, how := range []string{"full", "read-only"} {
		t.Run(how, func(t *testing.T) {
			b := newBench(t, "stream", "greencam1")
			b.mountSmall()
			a := startAgent(t, b.redis, "greencam1", "stream")
			const cause = "images could not be stored at the end: "
			stop := b.backgroundUntil(cause, "run", "--group", "pool", "--no-requests")
			a.produce()
			b.await("the first image", func() bool { return len(b.files("greencam1")) == 1 })
			allow := b.refuseImages(how)
			t.Cleanup(allow)
			for range 20 {
				a.produce()
			}
			b.await("the log to say so", func() bool { return strings.Contains(b.stderr.String(), "Images cannot be stored") })
			for range 7 {
				lives := strings.Count(b.stderr.String(), "re-subscribed to channels")
				b.redis.KillClients("normal")
				b.await("the next session", func() bool { return strings.Count(b.stderr.String(), "re-subscribed to channels") > lives })
			}
			stop()
			left := b.summary()["left pending"]
			wantSummary(t, b.summary(), map[string]string{"handled": "1", "stored": "1", "poisoned": "0", "not stored": "0", "corrupt": "0", "lost": "0"})
			if n, err := strconv.Atoi(left); err != nil || n < 1 || n > 20 {
				t.Errorf("left pending: got %q, want some of 20", left)
			}
			if n := strings.Count(b.stderr.String(), "Images cannot be stored"); n != 1 {
				t.Errorf("log: got %d complaints, want 1:\n%s", n, &b.stderr)
			}

			// Another worker gets them, the disk refuses again, and it waits until it does not.
			b.stdout, b.stderr = buffer{}, buffer{}
			pending := b.redis.Do("XPENDING", "frames:greencam1", "pool", "-", "+", 100)
			for _, p := range pending.([]any) { // a minute passes
				p := p.([]any)
				b.redis.Do("XCLAIM", "frames:greencam1", "pool", p[1], 0, p[0], "IDLE", 60000, "JUSTID")
			}
			stop = b.background("run", "--group", "pool", "--no-requests")
			b.await("the log to say so", func() bool { return strings.Contains(b.stderr.String(), "Images cannot be stored") })
			for range 7 {
				lives := strings.Count(b.stderr.String(), "re-subscribed to channels")
				b.redis.KillClients("normal")
				b.await("the next session", func() bool { return strings.Count(b.stderr.String(), "re-subscribed to channels") > lives })
			}
			allow()
			b.await("every image", func() bool { return len(b.files("greencam1")) == 21 })
			stop()
			wantSummary(t, b.summary(), map[string]string{"stored": "20", "poisoned": "0", "left pending": "0", "trimmed": "0", "lost": "0"})
		})
	}
}
