package spool

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"framekeeper/pkg/frame"
)

// A power cut, on a real ext4: the disk is a file, and a copy of it made while
// the spool is at work holds just what had reached the disk. Mounting the copy
// replays the journal, as after the cut.
func TestPowerCut(t *testing.T) {
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		t.Skip("no mkfs.ext4: cannot make a disk to cut the power of")
	}
	work := t.TempDir()
	disk := filepath.Join(work, "disk")
	f, err := os.Create(disk)
	if err == nil {
		err = errors.Join(f.Truncate(24<<20), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", disk).CombinedOutput(); err != nil {
		t.Fatalf("mkfs: %v: %s", err, out)
	}
	live := filepath.Join(work, "live")
	if err := os.Mkdir(live, 0o755); err != nil {
		t.Fatal(err)
	}
	mount(t, "-o", "loop", disk, live)
	s := mustOpen(t, config(filepath.Join(live, "spool")))
	t.Cleanup(func() { _ = s.Close() }) // before the unmount
	next, synced, removed := id(1, 990), id(1, 990), id(1, 990)
	cuts, missing := 0, 0
	for range 6 {
		for range 2 + rand.IntN(8) {
			next = next.Next()
			mustPut(t, s, message(next, sizeOf(next)))
			if rand.IntN(3) == 0 {
				mustSync(t, s)
				synced = next
			}
		}
		after := filepath.Join(work, "after")
		copyFile(t, disk, after)
		t.Run("cut", func(t *testing.T) { missing += checkAfterCut(t, after, removed, synced, next); cuts++ })
		removed = id(1, max(removed.Seq, synced.Seq-2))
		if err := s.Remove(removed); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d cuts, %d frames put; %d that were not synced were missing or torn", cuts, next.Seq-990, missing)
}

// checkAfterCut wants every synced frame whole, and of the others nothing that
// was not put.
func checkAfterCut(t *testing.T, disk string, removed, synced, next frame.ID) (missing int) {
	dir := t.TempDir()
	mount(t, "-o", "loop", disk, dir)
	s, losses, err := Open(config(filepath.Join(dir, "spool")))
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, s)
	lost := lostIDs(t, losses)
	for i := removed.Next(); !next.Less(i); i = i.Next() {
		m, err := s.Get(i)
		switch {
		case err == nil && !slices.Equal(m.Wire(), message(i, sizeOf(i)).Wire()):
			t.Errorf("%s reads as another frame", i)
		case err != nil && !synced.Less(i):
			t.Errorf("%s was synced (up to %s): %v; Open lost %v", i, synced, err, lost)
		case err != nil:
			missing++
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrGone) {
				t.Errorf("%s: %v", i, err)
			}
		}
	}
	return missing
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = io.Copy(out, in); err == nil {
		err = out.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A disk that takes writes and fails to keep them: a sparse disk image on a
// tmpfs too small for it. What it refused is reported, and what it kept stays.
func TestDiskThatFailsToStore(t *testing.T) {
	for name, count := range map[string]uint64{"one by one": 4, "all at once": 100} {
		t.Run(name, func(t *testing.T) {
			small := tmpfs(t, "size=8m")
			disk, dir := filepath.Join(small, "disk"), t.TempDir()
			if err := os.WriteFile(disk, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(disk, 64<<20); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-N", "256", disk).CombinedOutput(); err != nil {
				t.Skipf("mkfs: %v: %s", err, out)
			}
			mount(t, "-o", "loop", disk, dir)
			s := mustOpen(t, config(filepath.Join(dir, "spool")))
			t.Cleanup(func() { _ = s.Close() })
			mustPut(t, s, message(id(1, 1), 100_000))
			mustSync(t, s)
			for seq := uint64(2); seq < 2+count; seq++ {
				mustPut(t, s, message(id(1, seq), int(16_000_000/count)))
			}
			losses, err := s.Sync()
			lost := lostIDs(t, losses)
			if err == nil || len(lost) == 0 || losses[0].Reason != ReasonRefused {
				t.Fatalf("sync of 16 MB to a disk with 8 lost %v, %v; want losses and an error", losses, err)
			}
			if _, err := s.Get(lost[0]); !errors.Is(err, ErrGone) {
				t.Errorf("get of a refused frame: %v, want %v", err, ErrGone)
			}
			held := allIDs(s)
			if len(held)+len(lost) != 1+int(count) || held[0] != id(1, 1) {
				t.Errorf("%d are held and %d lost of %d", len(held), len(lost), 1+count)
			}
			// What counts is what the disk has, not the page cache. Of one write
			// the loop device says that it was done although the tmpfs cut it
			// short; a disk that lies is what the checksum is for.
			lied := 0
			for _, i := range held[1:] {
				forgetPages(t, s.path(i))
				m, err := s.Get(i)
				if errors.Is(err, ErrCorrupt) {
					lied++
				} else if err != nil || !slices.Equal(m.Wire(), message(i, int(16_000_000/count)).Wire()) {
					t.Errorf("get %s: %v, or another frame", i, err)
				}
			}
			if lied > 1 {
				t.Errorf("%d frames are damaged that were said to be stored, want at most 1", lied)
			}
			t.Logf("%d kept, %d refused, %d damaged: %v", len(held), len(lost), lied, err)
			if losses, err := s.Sync(); len(losses) > 0 {
				t.Errorf("the next sync lost %v again, %v", losses, err)
			}
		})
	}
}

func forgetPages(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
}
