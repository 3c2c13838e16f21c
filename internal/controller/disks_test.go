package controller

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"framekeeper/internal/async"
	"framekeeper/internal/files"
)

// A card that becomes read-only, or full, changes nothing as long as all goes
// well. It has to be reported before the next outage.
func TestADiskThatCannotBeWrittenIsReported(t *testing.T) {
	s := newScene(t)
	s.awaitReady(t, 2)
	disk := filepath.Join(s.dir, "spool")
	const size = "size=1m"
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, size); err != nil { // over what the agents have open: it goes on
		t.Skipf("cannot mount a file system to make read-only: %v", err)
	}
	defer func() { _ = unix.Unmount(disk, unix.MNT_DETACH) }()
	remount := func(flags uintptr) {
		t.Helper()
		if err := unix.Mount("", disk, "", unix.MS_REMOUNT|flags, size); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "a figure", func() bool { return s.scrape(t).value("directory_writable", "setting=spool_dir") == 1 })

	remount(unix.MS_RDONLY)
	want := "spool_dir cannot be written: " + disk + ": read-only file system"
	s.awaitUnwritable(t, want)
	if f := s.scrape(t); f.value("directory_writable", "setting=spool_dir") != 0 || f.value("directory_writable", "setting=state_dir") != 1 {
		t.Error("the figures do not show it, or say it of state_dir")
	}
	if page := s.page(); !strings.Contains(page, "<a href=\"#unwritable0\">spool_dir</a> cannot be written") || !strings.Contains(page, disk+": read-only file system") {
		t.Errorf("the page does not show it:\n%s", page)
	}
	if text, err := s.ask("--status"); err != nil || !strings.Contains(text, want) || !strings.Contains(text, "to do: mount it for writing") {
		t.Errorf("--status: got %v and\n%s", err, text)
	}
	if now := s.status(); len(now.Unwritable) != 1 || now.Unwritable[0].String() != want {
		t.Errorf("the command status shows %+v", now)
	}
	remount(0)
	s.awaitUnwritable(t, "")

	filler := filepath.Join(disk, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s.awaitUnwritable(t, "spool_dir cannot be written: "+disk+": the disk is full")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s.awaitUnwritable(t, "")
	for _, message := range []string{"A directory cannot be written", "The directory can be written again"} {
		if n := strings.Count(s.stderr.String(), message); n != 2 {
			t.Errorf("%d times in the log: %q, want twice", n, message)
		}
	}
}

// Agents go on without it, and so does all that can be seen of them.
func TestAStateDirThatWasDeletedIsReported(t *testing.T) {
	s := newScene(t)
	s.awaitReady(t, 2)
	eventually(t, "a figure", func() bool { return s.scrape(t).value("directory_writable", "setting=state_dir") == 1 })
	if err := os.Rename(s.state, s.state+".old"); err != nil {
		t.Fatal(err)
	}
	s.awaitUnwritable(t, "state_dir cannot be written: "+s.state+": its lock is not there any more")
	if text, err := s.ask("--status"); err != nil || !strings.Contains(text, "to do: bring it back, or restart the controller") {
		t.Errorf("--status: got %v and\n%s", err, text)
	}
	if s.scrape(t).value("directory_writable", "setting=state_dir") != 0 {
		t.Error("the figures do not show it")
	}
	if err := os.Rename(s.state+".old", s.state); err != nil {
		t.Fatal(err)
	}
	s.awaitUnwritable(t, "")
}

// awaitUnwritable waits until /readyz reports what begins so, or nothing, of a
// box that is ready all the time: frames come as before.
func (s setup) awaitUnwritable(t *testing.T, want string) {
	t.Helper()
	eventually(t, "/readyz with "+want, func() bool {
		code, h := s.health(t)
		if code != http.StatusOK {
			t.Fatalf("not ready: %q", h.Reasons)
		}
		if len(h.Unwritable) == 0 {
			return want == ""
		}
		return want != "" && strings.HasPrefix(h.Unwritable[0].String(), want)
	})
}

// A check of a disk that hangs does not return; that is reported, and the other
// disk is checked all the same.
func TestADiskThatDoesNotAnswer(t *testing.T) {
	state, nop := t.TempDir(), zerolog.Nop()
	dirs := map[string]string{"state_dir": state, "spool_dir": "/spool"}
	d := newDisks(func(setting string) (files.Directory, time.Duration) {
		return files.Directory{Dir: dirs[setting]}, 10 * time.Millisecond
	}, func() *zerolog.Logger { return &nop })
	d.patience = 10 * time.Millisecond
	hangs, checks := make(chan struct{}), async.NewWake()
	d.check = func(p files.Directory) (string, files.Code) {
		if p.Dir == "/spool" {
			<-hangs
			return "", ""
		}
		checks.Call()
		return "the disk is full", files.Full
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = d.run(ctx) // it never fails
	}()
	troubles := func() string { return fmt.Sprint(d.unwritable()) }
	full := "{[state_dir] " + state + " the disk is full full}"
	eventually(t, "both to be reported", func() bool { return troubles() == "["+full+" {[spool_dir] /spool the disk does not answer hangs}]" })
	for range 3 { // it is checked again and again
		<-checks
	}
	close(hangs)
	eventually(t, "the other one alone", func() bool { return troubles() == "["+full+"]" })
	cancel()
	<-ended
}
