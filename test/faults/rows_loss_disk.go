package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"framekeeper/internal/testkit/proctest"
	"framekeeper/internal/testkit/redistest"
)

// diskRows take the spool's disk away while Redis is away too.
func diskRows() []*lossRow {
	return []*lossRow{
		{name: "disk full", unable: mountsAvailable, run: diskFull},
		{name: "disk read-only", unable: mountsAvailable, run: diskReadOnly},
		{name: "disk read-only, sync always, Redis there", unable: mountsAvailable, run: diskReadOnlyAlways},
		{name: "clock an hour back at a start, state lost", run: clockBack},
	}
}

var errNoMounts = errors.New("mounting a small disk needs root; run with sudo")

func mountsAvailable() error {
	if os.Geteuid() != 0 {
		return errNoMounts
	}
	return nil
}

// smallDisk makes the spool a disk of its own.
func (s *scene) smallDisk(size string) {
	s.spoolDir = filepath.Join(s.TempDir(), "disk")
	if err := os.Mkdir(s.spoolDir, 0o755); err != nil {
		s.Fatalf("make mount point: %v", err)
	}
	if err := unix.Mount("tmpfs", s.spoolDir, "tmpfs", 0, "size="+size); err != nil {
		s.Fatalf("mount a small disk: %v", err)
	}
	s.Cleanup(func() {
		if err := unix.Unmount(s.spoolDir, unix.MNT_DETACH); err != nil {
			s.Logf("unmount %s: %v", s.spoolDir, err)
		}
	})
}

// capturing checks that IDs were given at the camera's rate while everything
// was away.
func (s *scene) capturing(from uint64, since time.Time, took time.Duration) {
	given := float64(s.status().Outbox.Newest.Seq - from)
	rate := given / (took + time.Since(since)).Seconds()
	if least := 0.85 * float64(s.fps); rate < least {
		s.problem("only %.1f IDs a second were given, want %.1f", rate, least)
	}
	s.figure("%.1f IDs a second were given meanwhile", rate)
}

// diskFull has room for some 50 frames beside those in memory.
func diskFull(s *scene) {
	s.set("retain_bytes", "1MiB")
	s.smallDisk("3m")
	s.behindProxy()
	s.begin()
	from, at := s.status().Outbox.Newest.Seq, time.Now()
	s.away()
	s.wait(pick(s, 15*time.Second, 3*time.Second))
	took := time.Since(at)
	healed := s.back()
	s.drain(startLimit)
	s.wait(1500 * time.Millisecond) // until the status shows it
	s.capturing(from, healed, took)
	s.fill()
	s.declares(1)
}

// declares checks at the end that at least n frames were declared lost, and
// that the agent counts as many as were declared to the reader.
func (s *scene) declares(n uint64) {
	s.wait(1500 * time.Millisecond)
	dropped, before := s.status().Outbox.Dropped, s.atEnd
	s.atEnd = func() {
		if before != nil {
			before()
		}
		if got := s.watcher.consumer.Stats().Declared; got < n || got != dropped {
			s.problem("%d lost frames were declared to the reader and the agent counts %d, want the same and at least %d", got, dropped, n)
		}
	}
}

// diskReadOnly takes no frame for a while; memory does as far as it reaches.
func diskReadOnly(s *scene) {
	const size = "256m"
	s.set("retain_bytes", "1MiB")
	s.smallDisk(size)
	s.behindProxy()
	s.begin()
	from, at := s.status().Outbox.Newest.Seq, time.Now()
	s.away()
	s.wait(time.Second)
	s.remount(unix.MS_RDONLY, size)
	s.logged(at, 5*time.Second, "that frames cannot be written to disk", func(e proctest.Event) bool { return e.Level == "error" })
	s.wait(pick(s, 8*time.Second, 1500*time.Millisecond))
	s.remount(0, size)
	s.logged(at, 5*time.Second, "that the spool accepts frames again", func(e proctest.Event) bool { return contains(e.Msg, "The spool accepts frames again") })
	s.wait(pick(s, 3*time.Second, 500*time.Millisecond))
	took := time.Since(at)
	healed := s.back()
	s.drain(startLimit)
	s.wait(1500 * time.Millisecond)
	s.capturing(from, healed, took)
	s.fill()
	s.declares(1)
}

// diskReadOnlyAlways takes the disk from an agent that writes before it sends.
// Redis is there all the time, so nothing is lost and nothing waits.
func diskReadOnlyAlways(s *scene) {
	const size = "256m"
	s.set("retain_bytes", "1MiB")
	s.set("sync", "always")
	s.smallDisk(size)
	s.serve(redistest.Start(s))
	s.begin()
	at := time.Now()
	s.remount(unix.MS_RDONLY, size)
	s.logged(at, 5*time.Second, "that frames cannot be written to disk", func(e proctest.Event) bool { return e.Level == "error" })
	s.wait(pick(s, 8*time.Second, time.Second))
	took := s.drain(startLimit)
	s.figure("frames came through in %s ms without the disk", ms(took))
	s.remount(0, size)
	s.logged(at, 5*time.Second, "that the spool accepts frames again", func(e proctest.Event) bool { return contains(e.Msg, "The spool accepts frames again") })
	s.fill()
	s.atEnd = func() {
		if n := s.watcher.consumer.Stats().Declared; n > 0 {
			s.problem("%d frames were lost although Redis was there", n)
		}
	}
}

// remount waits for a moment in which no file is open for writing.
func (s *scene) remount(flags uintptr, size string) {
	var err error
	for range 5000 {
		if err = unix.Mount("tmpfs", s.spoolDir, "tmpfs", unix.MS_REMOUNT|flags, "size="+size); err == nil {
			return
		}
		s.wait(time.Millisecond)
	}
	s.Fatalf("remount %s: %v", s.spoolDir, err)
}

// clockBack is a box whose clock was an hour ahead when its stream began, and
// which has lost its saved epoch since: new IDs must still be higher.
func clockBack(s *scene) {
	s.behindProxy()
	s.prepare()
	s.saveEpoch(uint64(time.Now().Add(time.Hour).Unix()))
	s.begin()
	s.wait(time.Second)
	ahead := s.epoch()
	if want := uint64(time.Now().Add(59 * time.Minute).Unix()); ahead < want {
		s.problem("the epoch is %d, want it above the saved one, %d", ahead, want)
	}
	s.stop()
	if err := os.RemoveAll(s.stateDir); err != nil {
		s.Fatalf("lose state: %v", err)
	}
	s.expected.UncleanStart++ // nobody knows how the one before ended
	s.away()                  // so that frames are spooled under the low epoch first
	s.launch()
	s.wait(2 * time.Second)
	low := s.epoch()
	s.back()
	s.drain(startLimit)
	if now := s.epoch(); low >= ahead || now <= ahead {
		s.problem("the epoch is %d after %d and %d, want it higher than both", now, ahead, low)
	}
	s.figure("epoch raised by %d s over the clock", s.epoch()-low)
	s.fill()
}

func (s *scene) saveEpoch(epoch uint64) {
	b, err := json.Marshal(map[string]any{"epoch": epoch, "clean": true})
	dir := filepath.Join(s.stateDir, cameraName)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "state.json"), b, 0o600)
	}
	if err != nil {
		s.Fatalf("save state: %v", fmt.Errorf("write epoch: %w", err))
	}
}
