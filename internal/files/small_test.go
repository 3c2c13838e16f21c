package files

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, link} {
		if got, err := ReadSmall(p); err != nil || string(got) != "secret\n" {
			t.Errorf("%s: got %q, %v", p, got, err)
		}
	}
	if _, err := ReadSmall(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: got %v", err)
	}
}

func TestReadRefusesWhatIsNoRegularFile(t *testing.T) {
	dir := t.TempDir()
	pipe, socket, large := filepath.Join(dir, "pipe"), filepath.Join(dir, "socket"), filepath.Join(dir, "large")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.WriteFile(large, bytes.Repeat([]byte("x"), maxSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		pipe:        "is a pipe, expected a regular file",
		"/dev/zero": "is a device, expected a regular file",
		"/dev/ptmx": "is a device, expected a regular file",
		socket:      "is a socket, expected a regular file",
		dir:         "is a directory, expected a regular file",
		large:       "is larger than 1024 KiB",
	} {
		if _, err := ReadSmall(path); err == nil || !strings.Contains(err.Error(), path+" "+want) {
			t.Errorf("got %v, want that it %s", err, want)
		}
	}
}
