package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"framekeeper/internal/files"
	"framekeeper/pkg/frame"
)

// ErrCannotMove says that a spool can only be read where it is: the other place is on
// another disk, cannot be made, or holds something; or what is not the spool's lies in
// its own directory, and would move along.
var ErrCannotMove = errors.New("the spool cannot move there")

// Move takes a spool that nobody has open to another place on the same disk,
// and says whether there was anything to move. Its frames are durable there when
// it returns. On ErrCannotMove and ErrInUse it is where it was.
func Move(ctx context.Context, from, to string) (moved bool, err error) {
	held, foreign := false, ""
	err = walk(ctx, from, visitor{
		frame: func(place, frame.ID, string, fs.FileInfo) error { held = true; return nil },
		other: func(path string) {
			if path != filepath.Join(from, tempName) {
				foreign = path
			}
		},
	})
	switch {
	case err != nil || !held:
		return false, err
	case foreign != "":
		return false, fmt.Errorf("%w: %s is not the spool's", ErrCannotMove, foreign)
	}
	root, err := lockDir(from)
	if err != nil {
		return false, fmt.Errorf("open spool %s: %w", from, err)
	}
	defer files.Unlock(root)
	fresh := above(to)
	if err := os.MkdirAll(filepath.Dir(to), dirMode); err != nil {
		return false, fmt.Errorf("%w: %w", ErrCannotMove, explain(err))
	}
	if ctx.Err() != nil {
		return false, ctx.Err() // nobody waits for it any more
	}
	_ = syscall.Rmdir(to) // only an empty one can be
	if err := os.Rename(from, to); err != nil {
		return false, fmt.Errorf("%w: %w", ErrCannotMove, explain(err))
	}
	for _, dir := range append(fresh, filepath.Dir(from)) { // there before it is gone from here
		if err := files.SyncDir(dir); err != nil {
			return true, fmt.Errorf("sync %s: %w", dir, err)
		}
	}
	return true, nil
}

// above are the directories whose entries lead to path as soon as it is there:
// the one it is in, and those that the ones to be made for it are in.
func above(path string) (dirs []string) {
	for {
		path = filepath.Dir(path)
		dirs = append(dirs, path)
		if _, err := os.Lstat(path); err == nil || path == filepath.Dir(path) {
			return dirs
		}
	}
}
