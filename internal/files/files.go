// Package files has what several packages do with files and directories: it reads
// the small ones that a configuration names, makes a directory's entries durable,
// and finds out whether a directory can be written. Every package may use it.
package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// SyncDir makes what was created, renamed or removed in a directory durable. A
// directory that was removed with all its entries, or a file system that cannot
// sync one, is no error.
func SyncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the caller's own directory
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	defer func() { _ = d.Close() }() // only read from
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// Lock locks an open file or directory for this process, until Unlock or its end. It
// never waits: unix.EWOULDBLOCK says that another process has it locked.
func Lock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// Unlock unlocks a file and closes it. Closing alone would leave it locked by a child
// that is being forked just now.
func Unlock(f *os.File) {
	_ = unix.Flock(int(f.Fd()), unix.LOCK_UN)
	_ = f.Close() // a lock has no content
}
