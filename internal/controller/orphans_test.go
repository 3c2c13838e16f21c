package controller

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// frames counts the files of frames below the spool's directory.
func (s *scene) frames(camera string) int {
	found, err := filepath.Glob(filepath.Join(s.dir, "spool", camera, "*", "*", "*.frame"))
	if err != nil {
		s.t.Fatal(err)
	}
	return len(found)
}

// Frames of a camera that was taken out of the configuration are promised, and
// nobody sends them.
func TestOrphanedSpool(t *testing.T) {
	s := newScene(t)
	s.rewrite("name = \"cam2\"", "name = \"cam2\"\npublish_fps = 20")
	eventually(t, "frames", func() bool { return s.server.Client().XLen(t.Context(), "frames:cam2").Val() > 3 })
	if f := s.scrape(t); f["framekeeper_spool_unowned_bytes"] == nil || f.value("spool_unowned_bytes") != 0 {
		t.Errorf("got %v, want a figure that says none", f["framekeeper_spool_unowned_bytes"])
	}
	s.server.Kill()
	eventually(t, "frames on disk", func() bool { return s.frames("cam2") > 10 })
	configured, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(text string) {
		t.Helper()
		if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil { // nobody can be asked without Redis
			t.Fatal(err)
		}
	}
	reload(strings.Replace(string(configured), "cam2", "renamed", 1))
	eventually(t, "the frames to be reported", func() bool { return s.scrape(t).value("spool_unowned_frames") > 10 })
	if n := s.frames("cam2"); s.scrape(t).value("spool_unowned_frames") != float64(n) || s.scrape(t).value("spool_unowned_bytes") != float64(n)*4096 {
		t.Errorf("got %v frames and %v bytes, want %d of 4096", s.scrape(t).value("spool_unowned_frames"), s.scrape(t).value("spool_unowned_bytes"), n)
	}
	s.server.Restart()
	h := s.awaitReady(t, 2) // it is no trouble of a camera
	const waiting, advice = "frames wait on disk for it", "give a camera the name cam2 again and its agent sends them, or delete "
	if len(h.Orphaned) != 1 || h.Orphaned[0].Camera != "cam2" || h.Orphaned[0].Dir != filepath.Join(s.dir, "spool", "cam2") {
		t.Errorf("/readyz shows %+v", h.Orphaned)
	}
	if page := s.page(); !strings.Contains(page, waiting) || !strings.Contains(page, "G"+advice[1:]+h.Orphaned[0].Dir) {
		t.Errorf("the page does not show it:\n%s", page)
	}
	if text, err := s.ask("--status"); err != nil || !strings.Contains(text, waiting) || !strings.Contains(text, advice+h.Orphaned[0].Dir+" and "+s.state+"/cam2") {
		t.Errorf("--status: got %v and\n%s", err, text)
	}
	if now := s.status(); len(now.Orphaned) != 1 || !now.OK {
		t.Errorf("the command status shows %+v", now)
	}
	if _, failure := s.reload(); failure != "" { // looks again, and has nothing new to tell
		t.Fatal(failure)
	}

	reload(string(configured))
	eventually(t, "the frames to be sent", func() bool { return s.frames("cam2") == 0 })
	eventually(t, "the figure to say so", func() bool { return s.scrape(t).value("spool_unowned_bytes") == 0 })
	if n := strings.Count(s.stderr.String(), "Orphaned spool: "); n != 1 {
		t.Errorf("logged %d times, want once", n)
	}
}
