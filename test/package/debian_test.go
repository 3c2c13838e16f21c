package packagetest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

const (
	suite  = "bookworm"
	mirror = "http://deb.debian.org/debian"
)

// contents is what a box has besides the smallest system there is.
func contents() string {
	return strings.Join([]string{"adduser", "dbus", "libpam-systemd", "polkitd", "redis-server", "systemd", "systemd-sysv"}, ",")
}

// debian is a directory with a Debian, made once and never changed.
func debian(t *testing.T) string {
	t.Helper()
	key := sha256.Sum256([]byte(suite + mirror + contents() + runtime.GOARCH))
	dir, err := filepath.Abs(filepath.Join(repository, fmt.Sprintf(".cache/package/debian-%x", key[:4])))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err == nil {
		return dir
	} else if !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	unfinished, err := os.MkdirTemp(filepath.Dir(dir), "unfinished-")
	if err != nil {
		t.Fatal(err)
	}
	if proxy, err := run(t, "apt-config", "shell", "proxy", "Acquire::http::Proxy"); err == nil && proxy != "" && os.Getenv("http_proxy") == "" {
		t.Setenv("http_proxy", strings.Trim(strings.TrimPrefix(proxy, "proxy="), "'"))
	}
	out, err := run(t, "debootstrap", "--variant=minbase", "--include="+contents(), suite, unfinished, mirror)
	if err == nil {
		err = os.Chmod(unfinished, 0o755)
	}
	if err == nil {
		err = os.RemoveAll(filepath.Join(unfinished, "var/cache/apt/archives"))
	}
	if err == nil {
		err = os.Rename(unfinished, dir)
	}
	if err != nil {
		_ = os.RemoveAll(unfinished) // the first error counts
		t.Fatalf("debootstrap: %v\n%s", err, lastLines(out, 15))
	}
	return dir
}

func lastLines(s string, n int) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
