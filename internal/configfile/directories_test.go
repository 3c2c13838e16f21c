package configfile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A spool and a state never share a directory, however the two are written.
func TestSpoolApartFromState(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, made := range []string{"state/cam1", "spool", "disk/spool"} {
		if err := os.MkdirAll(filepath.Join(dir, made), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"link": "state", "spool/cam2": filepath.Join(dir, "state/cam1"), "disk/spool/cam1": ".."} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		state, spool string
		cameras      string
		wrong        string // in the problem; "": none
	}{
		{"state", "state", "cam1", "this is state_dir, " + dir + "/state"},
		{"state", "./x/../state/", "cam1", "this is state_dir"},
		{"./state", dir + "/state", "cam1", "this is state_dir"},
		{"state", "link", "cam1", "this is state_dir"},
		{"link", "state", "cam1", "this is state_dir"},
		{"link/new/er", "state/new/er", "cam1", "this is state_dir"},
		{"/", "/.", "cam1", "this is state_dir"},
		{"state", "state/cam1", "cam1", "the spool of cam1, " + dir + "/state/cam1/cam1, would be mixed with the state of cam1, " + dir + "/state/cam1"},
		{"state", "link/cam1/deep", "cam2 cam1", "the spool of cam2, " + dir + "/state/cam1/deep/cam2, would be mixed with the state of cam1"},
		{"state/cam1/state", "state", "cam1 cam2", "would be mixed with the state of cam1"},
		{"state", "spool", "cam1 cam2", "the spool of cam2, " + dir + "/state/cam1, would"},
		{"disk/spool/state", "disk/spool", "cam1", "the spool of cam1, " + dir + "/disk, would"},
		{"state", "state/spool", "cam1 spool", "would be mixed with the state of spool"},
		{"state", "state/spool", "cam1 cam2", ""},
		{"state", "state/cam3", "cam1 cam2", ""},
		{"state", "spool", "cam1", ""},
		{"state", "state2", "cam1", ""},
		{"state/cam1/state", "state", "cam2", ""},
		{"new/state", "new/spool", "cam1", ""},
	} {
		text := fmt.Sprintf("state_dir = %q\n[delivery]\nspool_dir = %q\n", c.state, c.spool)
		for _, name := range strings.Fields(c.cameras) {
			text += fmt.Sprintf("[[camera]]\nname = %q\nsource = \"test:\"\n", name)
		}
		if c.wrong == "" {
			if _, err := Parse("config.toml", []byte(text), nil); err != nil {
				t.Errorf("%s beside %s of %s: got %v, want it accepted", c.spool, c.state, c.cameras, err)
			}
			continue
		}
		got := problems(t, text)
		begins := fmt.Sprintf("config.toml:3: delivery.spool_dir = %q: expected a directory of its own; ", c.spool)
		if len(got) != 1 || !strings.HasPrefix(got[0], begins) || !strings.Contains(got[0], c.wrong) {
			t.Errorf("%s beside %s of %s: got %q, want one that begins with %q and has %q", c.spool, c.state, c.cameras, got, begins, c.wrong)
		}
	}
}
