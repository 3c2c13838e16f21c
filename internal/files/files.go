// Package files has what several packages do with files and directories: it reads
// the small ones that a configuration names, makes a directory's entries durable,
// and finds out whether a directory can be written. Every package may use it.
package files

import (
	"errors"
	"fmt"
	"io"
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

// maxSize bounds a file. All certificates that a system trusts are 0.2 MiB.
const maxSize = 1 << 20

// ReadSmall is the content of a file that a configuration names: a password or a
// certificate. It waits for nothing but the file's disk, and refuses what is no
// regular file: a pipe or a terminal would block its reader until somebody
// writes, and has nothing left for those who read again.
func ReadSmall(path string) ([]byte, error) {
	info, err := os.Stat(path) // before it is opened: that alone waits for a pipe's writer, and some devices act on it
	if err != nil {
		return nil, err
	}
	if kind := kindOf(info.Mode()); kind != "" {
		return nil, fmt.Errorf("%s is %s, expected a regular file", path, kind)
	}
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err == nil && len(data) > maxSize {
		return nil, fmt.Errorf("%s is larger than %d KiB", path, maxSize>>10)
	}
	return data, err
}

// kindOf says what is no regular file.
func kindOf(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return ""
	case m.IsDir():
		return "a directory"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeDevice != 0:
		return "a device"
	case m&fs.ModeSocket != 0:
		return "a socket"
	default:
		return "something else"
	}
}
