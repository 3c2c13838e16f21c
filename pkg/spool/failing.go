package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"framekeeper/pkg/frame"
)

// What tells a file that cannot be read any more from a disk that cannot be read now.
const (
	failingTime  = time.Minute // how long it has failed while others could be read
	failingTimes = 3           // and how often
	maxFailing   = 64          // more are not watched: then it is the disk
	maxWitnesses = 3           // others that are tried
)

// failure is a frame that cannot be read while others can.
type failure struct {
	since time.Time // by the monotonic clock
	times int
}

// outlasted counts an error of reading a frame that proves nothing, and reports
// whether it has lasted so long that it counts as damage: failingTime and failingTimes,
// while other frames could be read each time. If none can, it is not the file's fault,
// and it begins anew.
func (s *Spool) outlasted(id frame.ID) bool {
	well := s.readsOthers(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	f, known := s.failing[id]
	switch {
	case !well:
		delete(s.failing, id)
		return false
	case !known && len(s.failing) == maxFailing:
		return false
	case !known:
		f.since = s.cfg.Now()
	}
	f.times++
	s.failing[id] = f
	return f.times >= failingTimes && s.cfg.Now().Sub(f.since) >= failingTime
}

// readsOthers reports whether a frame beside id and those that fail too can be read
// from the disk.
func (s *Spool) readsOthers(id frame.ID) bool {
	s.mu.Lock()
	others := s.index.latest(maxWitnesses, func(other frame.ID) bool {
		_, fails := s.failing[other]
		return fails || other == id
	})
	s.mu.Unlock()
	for _, other := range others {
		s.mu.Lock()
		e, _ := s.index.get(other)
		s.mu.Unlock()
		uncache(s.path(other))
		if _, err := s.readFrame(other, int64(e.size)); err == nil {
			return true
		}
	}
	return false
}

// uncache makes the next read of a file one of the disk, if the kernel agrees.
func uncache(path string) {
	if f, err := os.Open(path); err == nil {
		_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
		_ = f.Close() // nothing was written
	}
}

// vanished is nil if the file at path is certainly not there: the directory that was
// opened is where it was and the one the file should be in can be read, or it was
// deleted with all that was in it. Else it is why that is not known.
func (s *Spool) vanished(path string) error {
	opened, err := s.root.Stat()
	if err != nil {
		return err
	}
	if st, ok := opened.Sys().(*syscall.Stat_t); ok && st.Nlink == 0 {
		return nil
	}
	if now, err := os.Stat(s.cfg.Dir); err != nil || !os.SameFile(opened, now) {
		return fmt.Errorf("%s is not the directory that was opened: %w", s.cfg.Dir, cmp.Or(err, fs.ErrInvalid))
	}
	for root := filepath.Clean(s.cfg.Dir); ; path = filepath.Dir(path) {
		dir := filepath.Dir(path)
		entries, err := os.ReadDir(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist) && dir != root: // then the directory has vanished
		case err != nil:
			return err
		case slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == filepath.Base(path) }):
			return fmt.Errorf("find %s, which is in its directory: %w", path, fs.ErrInvalid)
		default:
			return nil
		}
	}
}
