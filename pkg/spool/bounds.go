package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"framekeeper/internal/bytesize"
	"framekeeper/pkg/frame"
)

// tick is the resolution of ages.
const tick = 100 * time.Millisecond

// ticks is how long after Open t was, rounded so that nothing looks older than
// it is. Within one process both carry a monotonic reading.
func (s *Spool) ticks(t time.Time) int32 {
	n := math.Ceil(float64(t.Sub(s.opened)) / float64(tick))
	return int32(max(math.MinInt32, min(math.MaxInt32, n)))
}

// plausibleFrom is before every machine that runs this was installed: clocks
// that say less were never set. plausibleAge is more than anybody spools: a
// frame that looks older was written, or is being read, with a wrong clock.
var plausibleFrom = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

const plausibleAge = 365 * 24 * time.Hour

// ageAtOpen is the age of a file that an earlier process wrote, 0 when it
// cannot be known.
func ageAtOpen(now, modified time.Time) time.Duration {
	age := now.Round(0).Sub(modified)
	if modified.Before(plausibleFrom) || age < 0 || age > plausibleAge {
		return 0
	}
	return age
}

// Expire drops, oldest first, what is older than MaxAge and what is beyond the bounds
// of size and free disk. The losses hold even with an error. It is to be called every
// second or so.
func (s *Spool) Expire() (losses []Loss, err error) {
	s.ops.Lock()
	defer s.ops.Unlock()
	if s.closed {
		return nil, errClosed
	}
	now, short := s.cfg.Now(), s.shortage(0)
	for {
		id, e, ok := s.oldest()
		reason := s.excess(0, short)
		if s.cfg.MaxAge > 0 && now.Sub(s.opened)-time.Duration(e.at)*tick > s.cfg.MaxAge {
			reason = ReasonAge
		}
		if !ok || reason == "" {
			return losses, nil
		}
		if losses, err = s.drop(losses, id, reason); err != nil {
			return losses, s.failed(err)
		}
		short -= cost(int64(e.size))
	}
}

// makeRoom drops the oldest until need bytes fit. If id itself would be the next to
// go, fits is false.
func (s *Spool) makeRoom(id frame.ID, need int64) (losses []Loss, fits bool, err error) {
	short := s.shortage(need)
	if short > 0 && short > s.Stats().Bytes {
		return nil, false, fmt.Errorf("%w: the disk lacks %d bytes", ErrDiskFull, short) // dropping all would not help
	}
	for {
		reason := s.excess(need, short)
		if reason == "" {
			return losses, true, nil
		}
		oldest, e, ok := s.oldest()
		if !ok || id.Less(oldest) {
			s.count(&s.stats.Dropped)
			return addLoss(losses, id, reason), false, nil
		}
		if losses, err = s.drop(losses, oldest, reason); err != nil {
			return losses, false, err
		}
		short -= cost(int64(e.size))
	}
}

// excess is why need bytes more are too much; "" if they are not. short is what the
// disk lacks.
func (s *Spool) excess(need, short int64) string {
	switch {
	case s.Stats().Bytes+need > s.cfg.MaxBytes:
		return ReasonFull
	case short > 0:
		return ReasonDisk
	default:
		return ""
	}
}

// drop removes a frame that is not delivered.
func (s *Spool) drop(losses []Loss, id frame.ID, reason string) ([]Loss, error) {
	if err := s.discard(id); err != nil {
		return losses, fmt.Errorf("remove frame %s: %w", id, err)
	}
	s.count(&s.stats.Dropped)
	return addLoss(losses, id, reason), nil
}

// discard removes a frame. When its file cannot be removed the frame stays.
func (s *Spool) discard(id frame.ID) error {
	if err := os.Remove(s.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return explain(err)
	}
	s.forget(id)
	return nil
}

// forget takes a frame whose file is gone out of the index.
func (s *Spool) forget(id frame.ID) {
	s.mu.Lock()
	e, emptied := s.index.remove(id)
	delete(s.failing, id)
	s.mu.Unlock()
	s.free.avail += cost(int64(e.size))
	_ = s.pending[id].Close() // open, it would keep its space; nil is fine
	delete(s.pending, id)
	if p := placeOf(id); emptied && p != s.current {
		s.leave(p)
	}
}

// leave removes the directories of p if they are empty.
func (s *Spool) leave(p place) {
	if err := os.Remove(s.dir(p)); err == nil || errors.Is(err, fs.ErrNotExist) {
		_ = os.Remove(filepath.Join(s.cfg.Dir, p.epochName()))
	}
}

// freeDisk is what the disk had free: asking is a system call.
type freeDisk struct {
	asked time.Time
	avail int64 // as answered, and our own changes since
	size  int64
	wrote int64 // since asked
}

const (
	askEvery      = time.Second
	askEveryBytes = int64(16 * bytesize.MiB)
	plenty        = -1 << 62 // a shortage that nothing turns into one
	defaultFree   = int64(64 * bytesize.MiB)
)

// shortage is how many bytes are missing if need bytes are to be written and
// MinFree kept; below 0 there are more.
func (s *Spool) shortage(need int64) int64 {
	if s.cfg.MinFree < 0 {
		return plenty
	}
	f := &s.free
	since := s.cfg.Now().Sub(f.asked)
	if f.asked.IsZero() || since < 0 || since >= askEvery || f.wrote >= askEveryBytes {
		if !s.ask() {
			return plenty // not known; writing finds out
		}
	}
	reserve := s.cfg.MinFree
	if reserve == 0 {
		reserve = Reserve(f.size)
	}
	return need + reserve - f.avail
}

// Reserve is how much of a disk of that size is left free if MinFree is 0.
func Reserve(size int64) int64 { return min(defaultFree, size/50) }

func (s *Spool) ask() bool {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(s.root.Fd()), &st); err != nil {
		return false
	}
	unit := int64(st.Bsize) //nolint:unconvert // it is an int32 on 32-bit ARM
	s.free = freeDisk{asked: s.cfg.Now(), avail: int64(st.Bavail) * unit, size: int64(st.Blocks) * unit}
	return true
}
