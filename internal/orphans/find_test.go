package orphans

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/spool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fill puts frames into a spool and returns it, open.
func fill(t *testing.T, dir string, frames int) *spool.Spool {
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

// leave is fill, of a process that has ended.
func leave(t *testing.T, dir string, frames int) {
	t.Helper()
	if err := fill(t, dir, frames).Close(); err != nil {
		t.Fatal(err)
	}
}

// saveSpool is what an agent saves about where its spool is.
func saveSpool(t *testing.T, stateDir, name, dir string) {
	t.Helper()
	claim, err := outbox.TakeClaim(stateDir, name, time.Now(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	if err := claim.SetSpool(dir); err != nil {
		t.Fatal(err)
	}
	claim.Release(frame.ID{}, true)
}

func TestFind(t *testing.T) {
	root := t.TempDir()
	p := Dirs{State: filepath.Join(root, "state"), Spool: filepath.Join(root, "spool"), Cameras: []string{"cam1", "moved"}}
	want := func(what string, inUse bool, found ...string) {
		t.Helper()
		all, used, err := find(t.Context(), p)
		got := []string{}
		for _, s := range all {
			if s.State != filepath.Join(p.State, s.Camera) || s.Bytes != int64(s.Frames)*4096 || !strings.Contains(s.Item().Advice, s.Dir) {
				t.Errorf("%s: got %+v", what, s)
			}
			got = append(got, fmt.Sprint(s.Camera, " ", s.Frames, " ", strings.TrimPrefix(s.Dir, root)))
		}
		if !slices.Equal(got, append([]string{}, found...)) || used != inUse || err != nil {
			t.Errorf("%s: got %q, inUse %v, %v, want %q, inUse %v", what, got, used, err, found, inUse)
		}
	}
	want("nothing there", false)
	leave(t, filepath.Join(p.Spool, "cam1"), 3)  // configured
	leave(t, filepath.Join(p.Spool, "empty"), 0) // all was delivered
	for _, name := range []string{"Not-A-Name", "evil\n\x1b[31m", "<script>", "cam1.bak"} {
		leave(t, filepath.Join(p.Spool, name), 1)
	}
	want("nothing orphaned", false)
	leave(t, filepath.Join(p.Spool, "gone"), 5)
	want("a camera that was removed", false, "gone 5 /spool/gone")
	s := fill(t, filepath.Join(p.Spool, "other"), 2)
	want("another controller's", true, "gone 5 /spool/gone")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	want("and when that has ended", false, "gone 5 /spool/gone", "other 2 /spool/other")

	// Of a camera that is gone, and was kept elsewhere; and of one that will go
	// on from there.
	before := filepath.Join(root, "before")
	for _, name := range []string{"moved", "late"} {
		leave(t, filepath.Join(before, name), 4)
		saveSpool(t, p.State, name, filepath.Join(before, name))
	}
	saveSpool(t, p.State, "other-name", filepath.Join(before, "late"))
	saveSpool(t, p.State, "relative", "before/relative")
	saveSpool(t, p.State, "coloured", filepath.Join(before, "\x1b[31m", "coloured"))
	leave(t, filepath.Join(before, "\x1b[31m", "coloured"), 1)
	want("in another spool_dir", false, "late 4 /before/late", "gone 5 /spool/gone", "other 2 /spool/other")

	if err := os.RemoveAll(p.State); err != nil {
		t.Fatal(err)
	}
	want("without a state", false, "gone 5 /spool/gone", "other 2 /spool/other")
	p.Spool = filepath.Join(before, "moved", "7", "0", "7-1.frame")
	if _, _, err := find(t.Context(), p); err == nil {
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
		if got := hasLock(locks, c.major, c.minor, c.inode); got != c.want {
			t.Errorf("%02x:%02x:%d: got %v, want %v", c.major, c.minor, c.inode, got, c.want)
		}
	}
}

func newTestWatcher(d Dirs, out io.Writer) *Watcher {
	log := zerolog.New(out)
	return NewWatcher(func() Dirs { return d }, func() *zerolog.Logger { return &log })
}

func TestHowOftenIsSearched(t *testing.T) {
	root, log := t.TempDir(), &strings.Builder{}
	w := newTestWatcher(Dirs{State: root, Spool: filepath.Join(root, "spool")}, log)
	if wait := w.search(t.Context()); wait != rarely {
		t.Errorf("nothing there: again in %v, want %v", wait, rarely)
	}
	leave(t, filepath.Join(root, "spool", "gone"), 1)
	for range 2 {
		if wait := w.search(t.Context()); wait != soon {
			t.Errorf("a frame there: again in %v, want %v", wait, soon)
		}
	}
	if n := strings.Count(log.String(), "Orphaned spool"); n != 1 {
		t.Errorf("logged %d times, want once:\n%s", n, log)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	w.search(over)
	if found, searched := w.Found(); len(found) != 1 || !searched {
		t.Errorf("after an interrupted search: got %v, %v, want what was found before", found, searched)
	}
}

// A disk that does not answer holds up neither those who ask for the result nor
// the end.
func TestSearchOfADiskThatHangs(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "spool") // opening it waits until somebody writes
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	w := newTestWatcher(Dirs{State: t.TempDir(), Spool: pipe}, io.Discard)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	if _, searched := w.Found(); searched {
		t.Error("there is a result although nobody could search")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	end, err := os.OpenFile(pipe, os.O_WRONLY, 0) // lets the search go
	if err != nil {
		t.Fatal(err)
	}
	_ = end.Close()
}
