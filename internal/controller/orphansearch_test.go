package controller

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"framekeeper/internal/configfile"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/spool"
)

// fillSpool puts frames into a spool and returns it, open.
func fillSpool(t *testing.T, dir string, frames int) *spool.Spool {
	t.Helper()
	s, _, err := spool.Open(spool.Config{Dir: dir, MaxBytes: 1 << 20, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for i := range frames {
		m, err := frame.NewMessage(frame.Header{Camera: "cam1", ID: frame.ID{Epoch: 7, Seq: uint64(i + 1)}, Status: frame.StatusOK}, []byte("image"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Put(m); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// leaveSpool is fillSpool, of a process that has ended.
func leaveSpool(t *testing.T, dir string, frames int) {
	t.Helper()
	if err := fillSpool(t, dir, frames).Close(); err != nil {
		t.Fatal(err)
	}
}

// saveSpool is what an agent saves about where its spool is.
func saveSpool(t *testing.T, stateDir, name, dir string) {
	t.Helper()
	claim, err := outbox.TakeClaim(stateDir, name, time.Now(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	if err := claim.SetSpool(dir); err != nil {
		t.Fatal(err)
	}
	claim.Release(outbox.NewLog(outbox.LogConfig{Camera: name, Limit: 1 << 20, Claim: claim, Log: zerolog.Nop()}), true)
}

// orphanConfig names two directories, and the cameras that are configured.
func orphanConfig(stateDir, spoolDir string, cameras ...string) *configfile.Config {
	cfg := &configfile.Config{StateDir: stateDir}
	cfg.Delivery.SpoolDir = spoolDir
	cfg.Cameras = make([]camera.Config, len(cameras))
	for i, name := range cameras {
		cfg.Cameras[i].Name = name
	}
	return cfg
}

func TestFindOrphans(t *testing.T) {
	root := t.TempDir()
	state, spools := filepath.Join(root, "state"), filepath.Join(root, "spool")
	cfg := orphanConfig(state, spools, "cam1", "moved")
	want := func(what string, found ...string) {
		t.Helper()
		all, err := findOrphans(t.Context(), cfg)
		got := []string{}
		for _, s := range all {
			if s.State != filepath.Join(state, s.Camera) || s.Bytes != int64(s.Frames)*4096 || !strings.Contains(s.Item().Advice, s.Dir) {
				t.Errorf("%s: got %+v", what, s)
			}
			got = append(got, fmt.Sprint(s.Camera, " ", s.Frames, " ", strings.TrimPrefix(s.Dir, root)))
		}
		if !slices.Equal(got, append([]string{}, found...)) || err != nil {
			t.Errorf("%s: got %q, %v, want %q", what, got, err, found)
		}
	}
	want("nothing there")
	leaveSpool(t, filepath.Join(spools, "cam1"), 3)  // configured
	leaveSpool(t, filepath.Join(spools, "empty"), 0) // all was delivered
	for _, name := range []string{"Not-A-Name", "evil\n\x1b[31m", "<script>", "cam1.bak"} {
		leaveSpool(t, filepath.Join(spools, name), 1)
	}
	want("nothing orphaned")
	leaveSpool(t, filepath.Join(spools, "gone"), 5)
	want("a camera that was removed", "gone 5 /spool/gone")
	s := fillSpool(t, filepath.Join(spools, "other"), 2)
	want("another controller's", "gone 5 /spool/gone")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	want("and when that has ended", "gone 5 /spool/gone", "other 2 /spool/other")

	// Of a camera that is gone, and was stored elsewhere; and of one that will go
	// on from there.
	before := filepath.Join(root, "before")
	for _, name := range []string{"moved", "late"} {
		leaveSpool(t, filepath.Join(before, name), 4)
		saveSpool(t, state, name, filepath.Join(before, name))
	}
	saveSpool(t, state, "other-name", filepath.Join(before, "late"))
	saveSpool(t, state, "relative", "before/relative")
	saveSpool(t, state, "coloured", filepath.Join(before, "\x1b[31m", "coloured"))
	leaveSpool(t, filepath.Join(before, "\x1b[31m", "coloured"), 1)
	want("in another spool_dir", "late 4 /before/late", "gone 5 /spool/gone", "other 2 /spool/other")

	if err := os.RemoveAll(state); err != nil {
		t.Fatal(err)
	}
	want("without a state", "gone 5 /spool/gone", "other 2 /spool/other")
	cfg.Delivery.SpoolDir = filepath.Join(before, "moved", "7", "0", "7-1.frame")
	if _, err := findOrphans(t.Context(), cfg); err == nil {
		t.Error("spool_dir is a file: got no error")
	}
}

func newTestOrphans(cfg *configfile.Config, out io.Writer) *orphans {
	log := zerolog.New(out)
	return newOrphans(func() *configfile.Config { return cfg }, func() *zerolog.Logger { return &log })
}

func TestAnOrphanedSpoolIsLoggedOnce(t *testing.T) {
	root, log := t.TempDir(), &strings.Builder{}
	o := newTestOrphans(orphanConfig(root, filepath.Join(root, "spool")), log)
	leaveSpool(t, filepath.Join(root, "spool", "gone"), 1)
	for range 2 {
		o.search(t.Context())
	}
	if n := strings.Count(log.String(), "Orphaned spool"); n != 1 {
		t.Errorf("logged %d times, want once:\n%s", n, log)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	o.search(over)
	if found := o.last(); len(found) != 1 {
		t.Errorf("after an interrupted search: got %v, want what was found before", found)
	}
}

// A disk that does not answer holds up neither those who ask for the result nor
// the end.
func TestSearchOfADiskThatHangs(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "spool") // opening it waits until somebody writes
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	o := newTestOrphans(orphanConfig(t.TempDir(), pipe), io.Discard)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.run(ctx) }()
	time.Sleep(50 * time.Millisecond) // so that the search hangs, as a rule
	if found := o.last(); found != nil {
		t.Errorf("got %v although nobody could search", found)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	end, err := os.OpenFile(pipe, os.O_RDWR, 0) // lets the search go, whenever it comes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = end.Close() })
}
