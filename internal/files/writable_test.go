package files

import (
	"errors"
	"os"
	"path/filepath"
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

const (
	full     = "the disk is full"
	noInodes = "the disk has no inode left for another file"
	gone     = "its lock is not there any more: the directory was deleted, moved or mounted over"
)

func want(t *testing.T, d Directory, reason string) {
	t.Helper()
	code, listed := map[string]Code{"": "", full: Full, noInodes: Full, gone: Gone, "read-only file system": ReadOnly}[reason]
	if !listed {
		code = Refused
	}
	if got, c := WhyUnwritable(d); got != reason || c != code {
		t.Errorf("%s: got %q, code %q, want %q, code %q", d.Dir, got, c, reason, code)
	}
}

func TestWhyUnwritable(t *testing.T) {
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

// Who works with a directory that has gone stores nothing, and leaves its place
// to a second one.
func TestDirectoryThatIsGone(t *testing.T) {
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

func TestReadOnlyDisk(t *testing.T) {
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

func TestFullDisk(t *testing.T) {
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
func TestDiskWhoseReserveIsGone(t *testing.T) {
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
func TestDirectoryWithoutPermission(t *testing.T) {
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

func TestAdvice(t *testing.T) {
	for code, part := range map[Code]string{
		Full: "free the disk", Hangs: "restart the box", Gone: "restart the controller", ReadOnly: "mount it for writing", Refused: "the user",
	} {
		if got := (&Unwritable{Code: code}).Advice(); !strings.Contains(got, part) {
			t.Errorf("%s: got %q, want %q in it", code, got, part)
		}
	}
	u := Unwritable{Settings: []string{"state_dir"}, Dir: "./state", Reason: full}
	if got := u.String(); got != "state_dir cannot be written: ./state: the disk is full" {
		t.Errorf("got %q", got)
	}
}
