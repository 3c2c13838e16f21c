package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"framekeeper/internal/files"
	"framekeeper/pkg/frame"
)

// Open makes the directory if need be, locks it against other processes, removes what
// a killed one left half-written and reads names and sizes; Get reads the files.
// Losses are frames whose files are too short or in the wrong directory, and those
// that exceed the bounds. A directory on a read-only disk can be opened: its frames can
// still be delivered. With a directory in it that cannot be read it is not opened: what
// is there must not pass for missing.
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
	s = &Spool{
		cfg: cfg, opened: cfg.Now(), root: root, pending: map[frame.ID]*os.File{}, dirty: map[string]struct{}{},
		read: readExactly, failing: map[frame.ID]failure{},
	}
	losses, err = s.scan()
	if err != nil {
		files.Unlock(root)
		return nil, nil, fmt.Errorf("read spool %s: %w", cfg.Dir, explain(err))
	}
	s.inherited = s.index.frames > 0
	more, err := s.Expire()
	if err != nil { // a later Expire or Put meets it again and returns it
		cfg.Log.Warn().Err(err).Str("dir", cfg.Dir).Msg("The spool exceeds its limits, and no frame can be removed from it")
	}
	return s, append(losses, more...), nil
}

// lockDir locks the directory itself, which needs no file and so works on a read-only
// disk too. The lock dies with the process.
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
	if err = files.Lock(root); err == nil {
		return root, nil
	}
	_ = root.Close() // nothing was written
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, ErrInUse
	}
	return nil, fmt.Errorf("lock: %w", err)
}

// misfit is a file with a frame's name that cannot be that frame's file.
type misfit struct {
	id     frame.ID
	path   string
	reason string
}

// scan fills the index from the directory, and sets misfits aside.
func (s *Spool) scan() (losses []Loss, err error) {
	_ = os.Remove(filepath.Join(s.cfg.Dir, tempName)) // Put fails on it if it cannot be removed
	var misfits []misfit
	others, example := 0, ""
	err = walk(context.Background(), s.cfg.Dir, visitor{
		frame: func(p place, id frame.ID, path string, info fs.FileInfo) error {
			switch size := info.Size(); {
			case placeOf(id) != p:
				misfits = append(misfits, misfit{id, path, "in the wrong directory"})
			case size < int64(minFile) || size > int64(prefixSize+maxFrame):
				misfits = append(misfits, misfit{id, path, fmt.Sprintf("impossible size of %d bytes", size)})
			default:
				s.index.insert(id, size, s.ticks(s.opened.Add(-ageAtOpen(s.opened, info.ModTime()))))
			}
			return nil
		},
		other: func(path string) { others++; example = path },
		after: func(dir string) { _ = os.Remove(dir) }, // only an empty one can be
	})
	if err != nil {
		return nil, err
	}
	if others > 0 {
		s.cfg.Log.Warn().Str("dir", s.cfg.Dir).Int("files", others).Str("example", example).
			Msg("The spool's directory contains other files; they are ignored")
	}
	slices.SortFunc(misfits, func(a, b misfit) int { return a.id.Compare(b.id) })
	for _, m := range misfits {
		s.setAside(m.path, filepath.Base(m.path), m.reason)
		if _, there := s.index.get(m.id); !there {
			losses = addLoss(losses, m.id, ReasonDamaged)
			s.stats.Corrupt++
		}
	}
	return losses, nil
}
