package spool

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// A spool that never holds more than one frame (sync = "always" on a healthy
// link) must not make and remove directories for each.
func TestDirectoryStaysWhileInUse(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, config(dir))
	for seq := uint64(998); seq <= 1002; seq++ {
		mustPut(t, s, message(id(1, seq), 10))
		if err := s.Remove(id(1, seq)); err != nil {
			t.Fatal(err)
		}
		if got, want := fileNames(t, dir), []string{"1/", "1/" + placeOf(id(1, seq)).blockName() + "/"}; !slices.Equal(got, want) {
			t.Errorf("after 1-%d the files are %q, want %q", seq, got, want)
		}
	}
	mustPut(t, s, message(id(2, 1), 10))
	if got, want := fileNames(t, dir), []string{"2/", "2/0/", "2/0/2-1.frame"}; !slices.Equal(got, want) {
		t.Errorf("after a new epoch the files are %q, want %q", got, want)
	}
}

func TestForeignFilesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	names := []string{"notes.txt", "5/photo.jpg", "5/0/readme", "5/0/5-01.frame", "5/0/0-0.frame", "05/0/5-1.frame", "-1/x", "quarantine/mine.txt", "2024/07/9-9.frame"}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "5/0/5-7.frame"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "5/0/5-8.frame")); err != nil {
		t.Fatal(err)
	}
	before := fileNames(t, dir)
	s := mustOpen(t, config(dir))
	mustPut(t, s, message(id(5, 1), 10))
	if err := s.Remove(id(5, 1)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if got := fileNames(t, dir); !slices.Equal(got, before) {
		t.Errorf("files are %q, want %q", got, before)
	}
}

func TestTempFileOfAKilledWriterIsRemoved(t *testing.T) {
	dir := t.TempDir()
	temp := filepath.Join(dir, tempName)
	if err := os.WriteFile(temp, []byte("half a frame"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, config(dir))
	if got := fileNames(t, dir); len(got) > 0 {
		t.Errorf("files are %q, want none", got)
	}
	// One that appears later, even as a second name of a good frame, is in nobody's way.
	mustPut(t, s, message(id(1, 1), 10))
	if err := os.Link(s.path(id(1, 1)), temp); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, message(id(1, 2), 10))
	mustHold(t, s, message(id(1, 1), 10))
	mustHold(t, s, message(id(1, 2), 10))
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	mustOpen(t, config(dir))
	if _, _, err := Open(config(dir)); !errors.Is(err, ErrInUse) {
		t.Errorf("open of a directory in use: %v, want %v", err, ErrInUse)
	}
	for _, cfg := range []Config{{MaxBytes: 1}, {Dir: t.TempDir()}} {
		if _, _, err := Open(cfg); err == nil {
			t.Errorf("open with %+v succeeds", cfg)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "x")} {
		if _, _, err := Open(config(path)); err == nil {
			t.Errorf("open of %s succeeds, it is a file", path)
		}
	}
}

// The group may read what waits, others may not, whatever the process's umask.
func TestModes(t *testing.T) {
	umask := syscall.Umask(0)
	defer syscall.Umask(umask)
	dir := filepath.Join(t.TempDir(), "spool")
	s := mustOpen(t, config(dir))
	for seq := uint64(1); seq <= 2; seq++ {
		mustPut(t, s, message(id(1, seq), 10))
	}
	if err := os.Truncate(s.path(id(1, 1)), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(id(1, 1)); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	for _, name := range append(fileNames(t, dir), "") {
		want := fs.FileMode(0o640)
		if name == "" || name[len(name)-1] == '/' {
			want = 0o750
		}
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v, want %v", name, info.Mode().Perm(), err, want)
		}
	}
}
