package configfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Files with secrets that others can read are named, each once, and no secret is.
func TestWorldReadable(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "readable") // t.TempDir's parents may be closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	config, password, page := filepath.Join(dir, "config.toml"), filepath.Join(dir, "password"), filepath.Join(dir, "page")
	write := func(source string, mode os.FileMode) *Config {
		t.Helper()
		text := "[redis]\npassword_file = \"" + password + "\"\n[controller]\nhttp_user = \"op\"\nhttp_password_file = \"" + page +
			"\"\n[[camera]]\nname = \"cam1\"\nsource = \"" + source + "\"\n"
		for path, content := range map[string]string{config: text, password: "REDISPW", page: "PAGEPW"} {
			if err := os.WriteFile(path, []byte(content), mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, mode); err != nil { // whatever the umask is
				t.Fatal(err)
			}
		}
		cfg, err := Load(config)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	got := strings.Join(write("rtsp://admin:CAMPW@camera/live", 0o644).WorldReadable(), "\n")
	for _, file := range []string{config, password, page} {
		if strings.Count(got, file+" is readable") != 1 || strings.Contains(got, "PW") {
			t.Errorf("got %q, want %s in it once and no secret", got, file)
		}
	}
	if got := write("rtsp://camera/live", 0o644).WorldReadable(); len(got) != 2 {
		t.Errorf("a configuration without secrets: got %q", got)
	}
	if got := write("rtsp://admin:CAMPW@camera/live", 0o640).WorldReadable(); got != nil {
		t.Errorf("files that others cannot read: got %q", got)
	}
}

// The secret that signs events is one, and so is what the address of their receiver holds.
func TestWorldReadableNotify(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "readable") // t.TempDir's parents may be closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	config, secret := filepath.Join(dir, "config.toml"), filepath.Join(dir, "secret")
	for address, want := range map[string]int{"https://h/hook": 1, "https://h/hook?token=HOOKPW": 2, "https://me:HOOKPW@h/hook": 2} {
		text := "[notify]\nurl = \"" + address + "\"\nsecret_file = \"" + secret + "\"\n[[camera]]\nname = \"cam1\"\nsource = \"test:\"\n"
		for path, content := range map[string]string{config: text, secret: "SECRETPW"} {
			if err := errors.Join(os.WriteFile(path, []byte(content), 0o600), os.Chmod(path, 0o644), os.Chmod(dir, 0o755)); err != nil {
				t.Fatal(err)
			}
		}
		cfg, err := Load(config)
		if err != nil {
			t.Fatal(err)
		}
		got := cfg.WorldReadable()
		if all := strings.Join(got, "\n"); len(got) != want || !strings.Contains(all, secret+" is readable by every user of this machine ([notify] secret_file)") || strings.Contains(all, "PW") {
			t.Errorf("%s: got %q, want %d", address, got, want)
		}
	}
}
