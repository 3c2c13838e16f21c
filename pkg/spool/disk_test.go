package spool

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"framekeeper/pkg/frame"
)

// mount mounts until the test ends, or skips it: only root may.
func mount(t *testing.T, args ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("not root: cannot mount a file system to fill, to make read-only or to cut the power of")
	}
	if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
		t.Skipf("mount %q: %v: %s", args, err, out)
	}
	dir := args[len(args)-1]
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}

func tmpfs(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	mount(t, "-t", "tmpfs", "-o", options, "tmpfs", dir)
	return dir
}

// mustHoldExactly opens the directory anew and wants these frames, whole, and
// nothing half-written.
func mustHoldExactly(t *testing.T, cfg Config, want []frame.ID, size int) {
	t.Helper()
	s := mustOpen(t, cfg)
	defer mustClose(t, s)
	if got := allIDs(s); !slices.Equal(got, want) {
		t.Fatalf("held are %v, want %v", got, want)
	}
	for _, i := range want {
		mustHold(t, s, message(i, size))
	}
	for _, name := range fileNames(t, cfg.Dir) {
		if strings.HasSuffix(name, tempName) {
			t.Errorf("%s is left behind", name)
		}
	}
}

// Other things fill the disk: what was spooled stays whole, nothing
// half-written is left, and the spool goes on when there is room again.
func TestDiskFullOfOtherThings(t *testing.T) {
	dir := tmpfs(t, "size=1m")
	cfg := config(filepath.Join(dir, "spool"))
	s := mustOpen(t, cfg)
	mustPut(t, s, message(id(1, 1), 10000))
	mustPut(t, s, message(id(1, 2), 10000))
	mustSync(t, s)
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	held := []frame.ID{id(1, 1), id(1, 2)}
	for seq := uint64(3); seq <= 5; seq++ { // they would fit in the room of the two
		if losses, err := s.Put(message(id(1, seq), 15000)); !errors.Is(err, ErrDiskFull) || losses != nil {
			t.Errorf("put on a full disk: lost %v, %v; want nothing lost and %v", losses, err, ErrDiskFull)
		}
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	for seq := uint64(6); seq <= 8; seq++ {
		if losses := mustPut(t, s, message(id(1, seq), 10000)); losses != nil {
			t.Errorf("put with room again lost %v", losses)
		}
		held = append(held, id(1, seq))
	}
	if st := s.Stats(); st.Errors != 3 || st.Dropped != 0 {
		t.Errorf("stats are %+v, want 3 errors and none dropped", st)
	}
	mustClose(t, s)
	mustHoldExactly(t, cfg, held, 10000)
}

// A disk that is fuller than it says costs no held frame either.
func TestDiskWithoutInodes(t *testing.T) {
	dir := tmpfs(t, "size=1m,nr_inodes=12")
	s := mustOpen(t, config(filepath.Join(dir, "spool"))) // an inode for the mount, one for the spool
	want := []frame.ID{}
	for seq := uint64(1); seq <= 8; seq++ { // two for directories, eight for frames
		mustPut(t, s, message(id(1, seq), 10000))
		want = append(want, id(1, seq))
	}
	// No inode is left.
	for _, i := range []frame.ID{id(2, 1), id(1, 9)} {
		if losses, err := s.Put(message(i, 10000)); !errors.Is(err, ErrDiskFull) || losses != nil {
			t.Errorf("put: lost %v, %v; want nothing and %v", losses, err, ErrDiskFull)
		}
	}
	if err := s.Remove(id(1, 1)); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, message(id(1, 9), 10000))
	mustClose(t, s)
	mustHoldExactly(t, config(filepath.Join(dir, "spool")), append(want[1:], id(1, 9)), 10000)
}

// The spool itself fills the disk: MinFree holds, and the oldest goes, exactly.
func TestSpoolFillsTheDisk(t *testing.T) {
	dir := tmpfs(t, "size=1m")
	cfg := config(filepath.Join(dir, "spool"))
	cfg.MinFree = 512 << 10
	s := mustOpen(t, cfg)
	var lost []frame.ID
	for seq := uint64(1); seq <= 100; seq++ {
		lost = append(lost, lostIDs(t, mustPut(t, s, message(id(1, seq), 16000)))...)
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		if free := int64(st.Bavail) * int64(st.Bsize); free < cfg.MinFree { //nolint:unconvert // an int32 on 32-bit ARM
			t.Fatalf("after 1-%d %d bytes are free, want %d", seq, free, cfg.MinFree)
		}
	}
	held := allIDs(s)
	if len(held) != 32 || len(lost) != 68 || lost[0] != id(1, 1) || held[0] != lost[67].Next() {
		t.Errorf("%d are held, %d are lost, want 32 and 68: held from %s, lost from %s", len(held), len(lost), held[0], lost[0])
	}
}

func TestReadOnlyDisk(t *testing.T) {
	dir := tmpfs(t, "size=1m")
	cfg := config(filepath.Join(dir, "spool"))
	cfg.MaxBytes = 3 * 4096
	s := mustOpen(t, cfg)
	held := []frame.ID{id(1, 1), id(1, 2), id(1, 3)}
	for _, i := range held {
		mustPut(t, s, message(i, 10))
	}
	mustClose(t, s)
	remount := func(mode string) {
		t.Helper()
		if out, err := exec.Command("mount", "-o", "remount,"+mode, dir).CombinedOutput(); err != nil {
			t.Fatalf("remount: %v: %s", err, out)
		}
	}
	remount("ro")
	s = mustOpen(t, cfg)
	if _, _, err := Open(config(filepath.Join(dir, "new"))); !errors.Is(err, ErrReadOnly) {
		t.Errorf("open of a new directory: %v, want %v", err, ErrReadOnly)
	}
	// A full spool whose oldest cannot be removed has not lost it.
	if losses, err := s.Put(message(id(1, 4), 10)); !errors.Is(err, ErrReadOnly) || losses != nil {
		t.Errorf("put: lost %v, %v; want %v", losses, err, ErrReadOnly)
	}
	mustHold(t, s, message(id(1, 1), 10))
	if err := s.Remove(id(1, 1)); !errors.Is(err, ErrReadOnly) {
		t.Errorf("remove: %v, want %v", err, ErrReadOnly)
	}
	if got := allIDs(s); !slices.Equal(got, held[1:]) {
		t.Errorf("held are %v, want %v", got, held[1:])
	}
	remount("rw")
	mustPut(t, s, message(id(1, 4), 10))
	mustClose(t, s)
	cfg.MaxBytes *= 2
	mustHoldExactly(t, cfg, append(held, id(1, 4)), 10) // the delivered one is back, as said
}

func TestDamageOnAReadOnlyDiskIsToldOnce(t *testing.T) {
	dir := tmpfs(t, "size=1m")
	s := mustOpen(t, config(filepath.Join(dir, "spool")))
	mustPut(t, s, message(id(1, 1), 10))
	mustPut(t, s, message(id(1, 2), 10))
	if err := os.Truncate(s.path(id(1, 1)), 50); err != nil {
		t.Fatal(err)
	}
	mustSync(t, s)
	mustClose(t, s)
	s = mustOpen(t, s.cfg)
	if out, err := exec.Command("mount", "-o", "remount,ro", dir).CombinedOutput(); err != nil {
		t.Fatalf("remount: %v: %s", err, out)
	}
	for _, want := range []error{ErrCorrupt, ErrGone} {
		if _, err := s.Get(id(1, 1)); !errors.Is(err, want) {
			t.Errorf("get: %v, want %v", err, want)
		}
	}
	mustHold(t, s, message(id(1, 2), 10))
}
