package files

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// disk is a small file system of its own.
func disk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("cannot mount a file system to fill or to make read-only: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func want(t *testing.T, p Directory, reason string) {
	t.Helper()
	if got := WhyUnwritable(p); got != reason {
		t.Errorf("%s: got %q, want %q", p.Dir, got, reason)
	}
}

func TestLook(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o777); err != nil {
		t.Fatal(err)
	}
	want(t, Directory{Dir: dir, Below: []string{"none"}}, "")
	want(t, Directory{Dir: filepath.Join(dir, "made", "when needed")}, "")
	want(t, Directory{Dir: file}, "not a directory")
	want(t, Directory{Dir: filepath.Join(file, "below")}, "not a directory")
	want(t, Directory{Dir: dir, Below: []string{"none", "file"}}, "file: not a directory")
}

// Who works with a directory that has gone keeps nothing, and leaves its place
// to a second one.
func TestLookAtAPlaceThatIsGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	p := Directory{Dir: dir, Lock: lock}
	want(t, p, "")
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	want(t, p, gone)
	want(t, Directory{Dir: dir}, "")
	if err := os.Rename(dir+".old", dir); err != nil {
		t.Fatal(err)
	}
	want(t, p, "")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	want(t, p, gone)
	if err := os.Mkdir(dir, 0o700); err != nil { // as an agent does at its start
		t.Fatal(err)
	}
	want(t, p, gone)
	if err := os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600); err != nil { // as a second one does
		t.Fatal(err)
	}
	want(t, p, gone)
	_ = lock.Close()
	want(t, p, "")
}

func TestLookAtADiskThatIsReadOnly(t *testing.T) {
	dir := disk(t, "size=1m")
	want(t, Directory{Dir: dir}, "")
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, "size=1m"); err != nil {
		t.Fatal(err)
	}
	want(t, Directory{Dir: dir}, "read-only file system")
	want(t, Directory{Dir: filepath.Join(dir, "spool")}, "read-only file system")
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=1m"); err != nil {
		t.Fatal(err)
	}
	want(t, Directory{Dir: dir}, "")
}

func TestLookAtADiskThatIsFull(t *testing.T) {
	dir := disk(t, "size=1m,nr_inodes=4")
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, make([]byte, 1<<20-minFree), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, Directory{Dir: dir}, "")
	if err := os.WriteFile(file, make([]byte, 1<<20-minFree+1), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, Directory{Dir: dir}, full)
	if err := os.Truncate(file, 0); err != nil {
		t.Fatal(err)
	}
	want(t, Directory{Dir: dir}, "")
	for _, name := range []string{"b", "c"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want(t, Directory{Dir: dir}, noInodes)
}

// A spool leaves a part of its disk to others, so that less than nothing is left
// for it when they have taken that.
func TestLookAtADiskWhoseReserveIsGone(t *testing.T) {
	dir := disk(t, "size=16m")
	half := func(size int64) int64 { return size / 2 }
	file := filepath.Join(dir, "file")
	for taken, reason := range map[int]string{12 << 20: "", 12<<20 + 1: full} {
		if err := os.WriteFile(file, make([]byte, taken), 0o600); err != nil {
			t.Fatal(err)
		}
		want(t, Directory{Dir: dir, Reserve: half}, reason)
		want(t, Directory{Dir: dir}, "")
	}
}

// Root may write wherever the file system lets it, so somebody else has to look.
func TestLookWithoutPermission(t *testing.T) {
	dir := t.TempDir()
	below := filepath.Join(dir, "cam1")
	if err := os.Mkdir(below, 0o555); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := errors.Join(os.Chown(dir, 65534, 65534), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
			t.Fatal(err)
		}
		asNobody(t, func() { want(t, Directory{Dir: dir, Below: []string{"cam1"}}, "cam1: permission denied") })
		asNobody(t, func() { want(t, Directory{Dir: below}, "permission denied") })
		return
	}
	want(t, Directory{Dir: dir, Below: []string{"cam1"}}, "cam1: permission denied")
	want(t, Directory{Dir: below}, "permission denied")
}

func TestMerged(t *testing.T) {
	state := Unwritable{Settings: []string{"state_dir"}, Dir: "./state", Reason: full}
	in := Unwritable{Settings: []string{"spool_dir"}, Dir: "state/spool", Reason: full}
	beside := Unwritable{Settings: []string{"spool_dir"}, Dir: "state2", Reason: full}
	other := Unwritable{Settings: []string{"spool_dir"}, Dir: "state/spool", Reason: Hangs}
	both := Unwritable{Settings: []string{"state_dir", "spool_dir"}, Dir: "./state", Reason: full}
	for _, c := range [][2][]Unwritable{
		{{state, in}, {both}},
		{{state, beside}, {state, beside}},
		{{state, other}, {state, other}},
		{nil, nil},
	} {
		if got := Merged(c[0]); !reflect.DeepEqual(got, c[1]) {
			t.Errorf("got %v, want %v", got, c[1])
		}
	}
	if text := both.String(); !strings.Contains(text, "state_dir and spool_dir cannot be written: ./state: the disk is full") || len(state.Settings) != 1 {
		t.Errorf("got %q, and %v", text, state.Settings)
	}
}

func TestAdvice(t *testing.T) {
	for reason, part := range map[string]string{
		full: "free the disk", noInodes: "free the disk", Hangs: "restart the box",
		"cam1: read-only file system": "mount it for writing", "permission denied": "the user",
	} {
		if got := (&Unwritable{Reason: reason}).Advice(); !strings.Contains(got, part) {
			t.Errorf("%s: got %q, want %q in it", reason, got, part)
		}
	}
}
