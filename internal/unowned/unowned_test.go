package unowned

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/spool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// keep puts frames into a spool and returns it, open.
func keep(t *testing.T, dir string, frames int) *spool.Spool {
	t.Helper()
	s, _, err := spool.Open(spool.Config{Dir: dir, MaxBytes: 1 << 20, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for i := range frames {
		m, err := frame.NewMessage(frame.Header{Camera: "cam1", ID: frame.ID{Epoch: 7, Seq: uint64(i + 1)}, Status: frame.StatusOK}, []byte("image"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Put(m); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// left is keep, of a process that has ended.
func left(t *testing.T, dir string, frames int) {
	t.Helper()
	if err := keep(t, dir, frames).Close(); err != nil {
		t.Fatal(err)
	}
}

// keptIn is what an agent saves about where it keeps frames.
func keptIn(t *testing.T, stateDir, name, dir string) {
	t.Helper()
	o, err := outbox.TakeClaim(stateDir, name, time.Now(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	if err := o.SetSpool(dir); err != nil {
		t.Fatal(err)
	}
	o.Release(frame.ID{}, true)
}

func TestFind(t *testing.T) {
	root := t.TempDir()
	p := Place{StateDir: filepath.Join(root, "state"), SpoolDir: filepath.Join(root, "spool"), Cameras: []string{"cam1", "moved"}}
	want := func(what string, busy bool, found ...string) {
		t.Helper()
		all, isBusy, err := Find(t.Context(), p)
		got := []string{}
		for _, s := range all {
			if s.State != filepath.Join(p.StateDir, s.Camera) || s.Bytes != int64(s.Frames)*4096 || !strings.Contains(s.Advice(), s.Dir) {
				t.Errorf("%s: got %+v", what, s)
			}
			got = append(got, fmt.Sprint(s.Camera, " ", s.Frames, " ", strings.TrimPrefix(s.Dir, root)))
		}
		if !slices.Equal(got, append([]string{}, found...)) || isBusy != busy || err != nil {
			t.Errorf("%s: got %q, busy %v, %v, want %q, busy %v", what, got, isBusy, err, found, busy)
		}
	}
	want("nothing there", false)
	left(t, filepath.Join(p.SpoolDir, "cam1"), 3)  // configured
	left(t, filepath.Join(p.SpoolDir, "empty"), 0) // all was delivered
	for _, name := range []string{"Not-A-Name", "evil\n\x1b[31m", "<script>", "cam1.bak"} {
		left(t, filepath.Join(p.SpoolDir, name), 1)
	}
	want("nothing unowned", false)
	left(t, filepath.Join(p.SpoolDir, "gone"), 5)
	want("a camera that was removed", false, "gone 5 /spool/gone")
	s := keep(t, filepath.Join(p.SpoolDir, "other"), 2)
	want("another controller's", true, "gone 5 /spool/gone")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	want("and when that has ended", false, "gone 5 /spool/gone", "other 2 /spool/other")

	// Of a camera that is gone, and was kept elsewhere; and of one that will go
	// on from there.
	before := filepath.Join(root, "before")
	for _, name := range []string{"moved", "late"} {
		left(t, filepath.Join(before, name), 4)
		keptIn(t, p.StateDir, name, filepath.Join(before, name))
	}
	keptIn(t, p.StateDir, "odd", filepath.Join(before, "late"))
	keptIn(t, p.StateDir, "relative", "before/relative")
	keptIn(t, p.StateDir, "coloured", filepath.Join(before, "\x1b[31m", "coloured"))
	left(t, filepath.Join(before, "\x1b[31m", "coloured"), 1)
	want("in another spool_dir", false, "late 4 /before/late", "gone 5 /spool/gone", "other 2 /spool/other")

	if err := os.RemoveAll(p.StateDir); err != nil {
		t.Fatal(err)
	}
	want("without a state", false, "gone 5 /spool/gone", "other 2 /spool/other")
	p.SpoolDir = filepath.Join(before, "moved", "7", "0", "7-1.frame")
	if _, _, err := Find(t.Context(), p); err == nil {
		t.Error("spool_dir is a file: got no error")
	}
}

// The lines are of Linux 6: ext4, tmpfs, and a subvolume of btrfs.
func TestLocks(t *testing.T) {
	const locks = `1: FLOCK  ADVISORY  WRITE 22714 fe:00:9994250 0 EOF
2: FLOCK  ADVISORY  WRITE 26030 00:38:257 0 EOF
3: -> FLOCK  ADVISORY  WRITE 26031 08:01:12 0 EOF
4: POSIX  ADVISORY  WRITE 1 08:01:77 0 EOF
`
	for _, c := range []struct {
		major, minor uint32
		inode        uint64
		want         bool
	}{
		{0xfe, 0, 9994250, true},
		{0xfe, 1, 9994250, false}, // another disk's
		{0xfe, 0, 250, false},
		{0, 0x38, 257, true},
		{0, 0x3b, 257, true}, // btrfs shows it so to stat
		{0, 0x3b, 57, false},
		{0, 0, 9994250, false},
		{8, 1, 12, true},
		{8, 1, 77, false}, // of another kind
	} {
		if got := names(locks, c.major, c.minor, c.inode); got != c.want {
			t.Errorf("%02x:%02x:%d: got %v, want %v", c.major, c.minor, c.inode, got, c.want)
		}
	}
}
