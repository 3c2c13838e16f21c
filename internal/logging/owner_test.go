package logging

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The service's user owns the directory of its logs: through a link there, root's
// own client would write any file of root's.
func TestRootFollowsNoLinkOfAnother(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give directories away")
	}
	const other = 65534
	top := t.TempDir()
	theirs, ours, precious := filepath.Join(top, "theirs"), filepath.Join(top, "ours"), filepath.Join(top, "precious")
	for _, dir := range []string{theirs, ours, filepath.Join(theirs, "sub")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{
		filepath.Join(theirs, "box-client.log"): precious, filepath.Join(theirs, "link"): ours, filepath.Join(ours, "link"): theirs,
		filepath.Join(theirs, "nowhere"): filepath.Join(top, "new"),
	} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(theirs, other, other); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"theirs", "theirs/sub", "theirs/link", "ours/link", "theirs/nowhere/sub", "theirs/missing"} {
		cfg := Default()
		cfg.File = filepath.Join(top, dir, "box.log")
		var out strings.Builder
		log, closer := Begin(cfg, "client", &out)
		log.Info().Msg("what a stranger said")
		if err := closer.Close(); err != nil {
			t.Error(err)
		}
		if !strings.Contains(out.String(), "what a stranger said") || !strings.Contains(out.String(), "root does not write below "+theirs) {
			t.Errorf("%s: logged %q to standard error", dir, &out)
		}
	}
	for _, file := range []string{precious, filepath.Join(ours, "box-client.log"), filepath.Join(theirs, "sub/box-client.log"), filepath.Join(theirs, "missing"), filepath.Join(top, "new")} {
		if _, err := os.Lstat(file); err == nil {
			t.Errorf("root made %s", file)
		}
	}
	if err := checkOwner(theirs, other); err != nil {
		t.Errorf("its owner: %v", err)
	}
	if err := checkOwner(filepath.Join(ours, "new/er"), 0); err != nil {
		t.Errorf("root's own directory: %v", err)
	}
}
