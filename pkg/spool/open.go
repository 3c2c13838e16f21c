package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"framekeeper/pkg/frame"
)

// Open makes the directory if need be, locks it against other processes,
// removes what a killed one left half-written and learns names and sizes; Get
// looks into the files. Losses are frames whose files are too short or not
// where they belong, and those that do not fit the bounds. A directory on a
// read-only disk can be opened: what it holds can still be delivered.
func Open(cfg Config) (s *Spool, losses []Loss, err error) {
	if cfg.Dir == "" || cfg.MaxBytes <= 0 {
		return nil, nil, fmt.Errorf("open spool %q of %d bytes: a directory and a size are needed", cfg.Dir, cfg.MaxBytes)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	root, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, nil, fmt.Errorf("open spool %s: %w", cfg.Dir, err)
	}
	s = &Spool{cfg: cfg, opened: cfg.Now(), root: root, pending: map[frame.ID]*os.File{}, dirty: map[string]struct{}{}}
	losses, err = s.scan()
	if err != nil {
		_ = root.Close() // the first error is the one to tell
		return nil, nil, fmt.Errorf("read spool %s: %w", cfg.Dir, explain(err))
	}
	s.inherited = s.index.frames > 0
	more, err := s.Expire()
	if err != nil { // a later Expire or Put meets it again and returns it
		cfg.Log.Warn().Err(err).Str("dir", cfg.Dir).Msg("the spool holds more than it should and nothing can be removed")
	}
	return s, append(losses, more...), nil
}

// lockDir locks the directory itself, which needs no file and so works on a
// read-only disk too. The lock dies with the process.
func lockDir(path string) (*os.File, error) {
	root, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(path, dirMode); err != nil {
			return nil, explain(err)
		}
		root, err = os.Open(path)
	}
	if err != nil {
		return nil, err
	}
	if err = unix.Flock(int(root.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
		return root, nil
	}
	_ = root.Close() // nothing was written
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, ErrInUse
	}
	return nil, fmt.Errorf("lock: %w", err)
}

// scanner is what one reading of the directory finds.
type scanner struct {
	*Spool
	bad     []misfit
	foreign int
	example string // one foreign name
}

// misfit is a file with a frame's name that cannot be that frame's file.
type misfit struct {
	id     frame.ID
	path   string
	reason string
}

func (s *Spool) scan() ([]Loss, error) {
	_ = os.Remove(filepath.Join(s.cfg.Dir, tempName)) // Put meets whatever keeps it
	sc := scanner{Spool: s}
	err := sc.numbers(s.cfg.Dir, func(epoch uint64, dir string) error {
		return sc.numbers(dir, func(n uint64, dir string) error { return sc.block(place{epoch, n}, dir) })
	})
	if err != nil {
		return nil, err
	}
	if sc.foreign > 0 {
		s.cfg.Log.Warn().Str("dir", s.cfg.Dir).Int("files", sc.foreign).Str("example", sc.example).
			Msg("the spool's directory holds files of others, leaving them alone")
	}
	slices.SortFunc(sc.bad, func(a, b misfit) int { return a.id.Compare(b.id) })
	var losses []Loss
	for _, m := range sc.bad {
		s.setAside(m.path, filepath.Base(m.path), m.reason)
		if _, held := s.index.get(m.id); !held {
			losses = addLoss(losses, m.id, ReasonDamaged)
			s.stats.Corrupt++
		}
	}
	return losses, nil
}

// numbers visits the directories within dir whose names are numbers, and
// removes each that is empty afterwards.
func (sc *scanner) numbers(dir string, visit func(n uint64, dir string) error) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		n, ok := parseNumber(e.Name())
		if !ok || !e.IsDir() {
			if dir != sc.cfg.Dir || e.Name() != quarantineName {
				sc.pass(filepath.Join(dir, e.Name()))
			}
			continue
		}
		sub := filepath.Join(dir, e.Name())
		if err := visit(n, sub); err != nil {
			return err
		}
		_ = os.Remove(sub) // only an empty one can be
	}
	return nil
}

// block reads one directory of frames.
func (sc *scanner) block(p place, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	now := sc.opened
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		id, ok := parseName(e.Name())
		if !ok || !e.Type().IsRegular() {
			sc.pass(path)
			continue
		}
		info, err := e.Info()
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return err
		}
		switch size := info.Size(); {
		case placeOf(id) != p:
			sc.bad = append(sc.bad, misfit{id, path, "in the wrong directory"})
		case size < int64(minFile) || size > int64(prefixSize+maxFrame):
			sc.bad = append(sc.bad, misfit{id, path, fmt.Sprintf("impossible size of %d bytes", size)})
		default:
			sc.index.insert(id, size, sc.ticks(now.Add(-ageAtOpen(now, info.ModTime()))))
		}
	}
	return nil
}

func (sc *scanner) pass(path string) {
	sc.foreign++
	sc.example = path
}
