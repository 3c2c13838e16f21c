package configfile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A configuration may come through a pipe (--config <(…)), but one that never
// comes must not hold up a reload for ever.
func TestLoadFromAPipe(t *testing.T) {
	for name, tt := range map[string]struct {
		writes string
		ends   bool
		want   string // in the error; "": none
	}{
		"all is written":      {oneCamera, true, ""},
		"nothing is written":  {"", true, "nothing came out of it"},
		"the end never comes": {oneCamera, false, "its writer did not end within 5s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer read.Close()
			defer write.Close()
			if _, err := write.WriteString(tt.writes); err != nil {
				t.Fatal(err)
			}
			if tt.ends {
				_ = write.Close()
			}
			_, err = Load(fmt.Sprintf("/proc/self/fd/%d", read.Fd()))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	t.Run("nobody has the other end", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "config.toml")
		if err := unix.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path+" is no file, and nothing came out of it") {
			t.Errorf("got %v, want that nothing came", err)
		}
	})
}
