package logging

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// checkOwner refuses, for root, a directory that another user owns, or that is below
// such a one: its owner could put a link in the place of the file, and have root
// write whatever that leads to. What does not exist yet counts as its parent.
func checkOwner(dir string, euid int) error {
	if euid != 0 {
		return nil
	}
	named, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for {
		resolved, err := filepath.EvalSymlinks(named)
		if err == nil {
			return errors.Join(ownedByRoot(named), ownedByRoot(resolved))
		}
		if !errors.Is(err, fs.ErrNotExist) || named == filepath.Dir(named) {
			return err
		}
		named = filepath.Dir(named)
	}
}

// ownedByRoot looks at a directory and all above it.
func ownedByRoot(dir string) error {
	for {
		info, err := os.Lstat(dir)
		if err != nil {
			return err
		}
		if s, ok := info.Sys().(*syscall.Stat_t); ok && s.Uid != 0 {
			owner := strconv.FormatUint(uint64(s.Uid), 10)
			if u, err := user.LookupId(owner); err == nil {
				owner = u.Username
			}
			return fmt.Errorf("root does not write below %s, which %s owns and could fill with links; run this as %s", dir, owner, owner)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
		dir = filepath.Dir(dir)
	}
}
