package spool

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Count counts the frames in a directory that this process has not opened, and
// the disk space they take, without changing anything there. One that does not
// exist holds nothing. It looks at ctx between two files, but a disk that does
// not answer holds it up.
func Count(ctx context.Context, dir string) (frames int, bytes int64, err error) {
	err = visit(ctx, dir, func(e fs.DirEntry) error {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			frames++
			bytes += cost(info.Size())
		}
		return err
	})
	return frames, bytes, err
}

// containsFrames reports whether there is any frame in a directory. It is Held, but stops
// at the first.
func containsFrames(ctx context.Context, dir string) (bool, error) {
	err := visit(ctx, dir, func(fs.DirEntry) error { return errFound })
	if errors.Is(err, errFound) {
		return true, nil
	}
	return false, err
}

var errFound = errors.New("found")

// visit calls f with each frame's file.
func visit(ctx context.Context, dir string, f func(fs.DirEntry) error) error {
	number := func(e fs.DirEntry) bool { _, ok := parseNumber(e.Name()); return ok && e.IsDir() }
	return each(ctx, dir, func(epoch fs.DirEntry) error {
		if !number(epoch) {
			return nil
		}
		dir := filepath.Join(dir, epoch.Name())
		return each(ctx, dir, func(block fs.DirEntry) error {
			if !number(block) {
				return nil
			}
			return each(ctx, filepath.Join(dir, block.Name()), func(e fs.DirEntry) error {
				if _, ours := parseName(e.Name()); !ours || !e.Type().IsRegular() {
					return nil
				}
				return f(e)
			})
		})
	})
}

// each calls f with what is in one directory, in no order: a few names at a
// time, however many there are.
func each(ctx context.Context, dir string, f func(fs.DirEntry) error) error {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }() // only read from
	for {
		const some = 256
		entries, err := d.ReadDir(some)
		for _, e := range entries {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := f(e); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
