package configfile

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"framekeeper/internal/supervise"
)

func TestLoadHanded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	hand := func(text string) int {
		fd, err := unix.MemfdCreate("text", unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Pwrite(fd, []byte(text), 0); err != nil {
			t.Fatal(err)
		}
		t.Setenv(supervise.ConfigVariable, strconv.Itoa(fd))
		return fd
	}
	fd := hand(oneCamera)
	c, err := LoadHanded(path)
	if err != nil || c.Path != path || len(c.Cameras) != 1 || string(c.Text) != oneCamera {
		t.Errorf("got %+v, %v, want what was handed over", c, err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
		t.Error("the descriptor is still open")
	}
	if _, set := os.LookupEnv(supervise.ConfigVariable); set {
		t.Error("the variable is still set")
	}
	if _, err := LoadHanded(path); err == nil || !strings.Contains(err.Error(), "not valid TOML") {
		t.Errorf("without the variable: got %v, want the file", err)
	}
	for _, text := range []string{"x", "1", "70000"} {
		t.Setenv(supervise.ConfigVariable, text)
		if _, err := LoadHanded(path); err == nil || !strings.Contains(err.Error(), "descriptor") {
			t.Errorf("%s: got %v, want that it is no descriptor", text, err)
		}
	}
}
