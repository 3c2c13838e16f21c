package spool

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"framekeeper/pkg/frame"
)

// Count counts the frames in a directory that this process has not opened, and the
// disk space they take, without changing anything there. One that does not exist has
// none. It looks at ctx between two files, but a disk that does not answer delays it.
func Count(ctx context.Context, dir string) (frames int, bytes int64, err error) {
	err = walk(ctx, dir, visitor{frame: func(_ place, _ frame.ID, _ string, info fs.FileInfo) error {
		frames++
		bytes += cost(info.Size())
		return nil
	}})
	return frames, bytes, err
}

// visitor is called with what walk finds.
type visitor struct {
	frame func(p place, id frame.ID, path string, info fs.FileInfo) error // a file with a frame's name
	other func(path string)                                               // anything else; may be nil
	after func(dir string)                                                // an epoch's or a block's directory, at its end; may be nil
}

// walk visits the files of a spool, in no order.
func walk(ctx context.Context, dir string, v visitor) error {
	return v.numbers(ctx, dir, func(epoch uint64, dir string) error {
		return v.numbers(ctx, dir, func(block uint64, dir string) error {
			return v.block(ctx, place{epoch, block}, dir)
		})
	})
}

// numbers visits the directories in dir that have a number for a name.
func (v visitor) numbers(ctx context.Context, dir string, visit func(n uint64, dir string) error) error {
	return each(ctx, dir, func(path string, e fs.DirEntry) error {
		n, ok := parseNumber(e.Name())
		if !ok || !e.IsDir() {
			if v.other != nil && e.Name() != quarantineName {
				v.other(path)
			}
			return nil
		}
		if err := visit(n, path); err != nil {
			return err
		}
		if v.after != nil {
			v.after(path)
		}
		return nil
	})
}

// block visits one directory of frames.
func (v visitor) block(ctx context.Context, p place, dir string) error {
	return each(ctx, dir, func(path string, e fs.DirEntry) error {
		id, ok := parseName(e.Name())
		if !ok || !e.Type().IsRegular() {
			if v.other != nil {
				v.other(path)
			}
			return nil
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) { // removed since
			return nil
		}
		if err != nil {
			return err
		}
		return v.frame(p, id, path, info)
	})
}

// each calls f with what is in one directory, in no order: a few names at a time,
// however many there are. A directory that does not exist has nothing.
func each(ctx context.Context, dir string, f func(path string, e fs.DirEntry) error) error {
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
			if err := f(filepath.Join(dir, e.Name()), e); err != nil {
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
