package files

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A pipe in the place of a lock has nobody at its other end: opening it must not wait.
func TestOpenOwnRefusesAtOnce(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	makers := map[string]func(path string) error{
		"a pipe":          func(p string) error { return unix.Mkfifo(p, 0o666) },
		"a symbolic link": func(p string) error { return os.Symlink(precious, p) },
		"a directory":     func(p string) error { return os.Mkdir(p, 0o777) },
	}
	for name, put := range makers {
		path := filepath.Join(dir, name)
		if err := put(path); err != nil {
			t.Fatal(err)
		}
		for _, flags := range []int{os.O_RDONLY, os.O_WRONLY | os.O_APPEND, os.O_RDWR | os.O_CREATE} {
			done := inBackground(func() error {
				f, err := OpenOwn(path, flags, 0o640)
				if err == nil {
					_ = f.Close()
				}
				return err
			})
			select {
			case err := <-done:
				if !errors.Is(err, ErrForeign) {
					t.Errorf("%s, flags %#x: got %v, want %v", name, flags, err, ErrForeign)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("%s, flags %#x: still waiting", name, flags)
			}
		}
	}
	if got, err := os.ReadFile(precious); err != nil || string(got) != "precious" {
		t.Errorf("the link's target is now %q, %v", got, err)
	}
	f, err := OpenOwn(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func inBackground(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

func TestWorldReadable(t *testing.T) {
	top, err := os.MkdirTemp("/tmp", "readable") // t.TempDir's parents may be closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(top) })
	dir := filepath.Join(top, "dir")
	file, link := filepath.Join(dir, "secret"), filepath.Join(top, "link")
	for _, err := range []error{os.Mkdir(dir, 0o755), os.WriteFile(file, nil, 0o600), os.Symlink(file, link)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	chmod := func(path string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	chmod(top, 0o755)
	for _, c := range []struct {
		file, dir os.FileMode
		want      bool
	}{{0o644, 0o755, true}, {0o640, 0o755, false}, {0o644, 0o750, false}, {0o644, 0o751, true}} {
		chmod(file, c.file)
		chmod(dir, c.dir)
		if got := WorldReadable(link); got != c.want {
			t.Errorf("file %o in a directory %o: got %t", c.file, c.dir, got)
		}
	}
	if WorldReadable(strings.Repeat("x", 300)) {
		t.Error("a file that is not there is readable")
	}
}
