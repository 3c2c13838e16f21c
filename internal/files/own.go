package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrForeign says that something else is in the place of a program's own file.
var ErrForeign = errors.New("expected a regular file, not a symbolic link, a pipe or a directory: remove it")

// OpenOwn opens a file that a program keeps for itself: a lock or a saved state. Whoever
// may write in its directory could put something else in its place, so it follows no
// link, waits for nobody at the other end of a pipe, and refuses at once what is no
// regular file.
func OpenOwn(path string, flags int, mode fs.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, mode)
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENXIO), errors.Is(err, unix.EISDIR): // ENXIO: a pipe without a reader, a socket
		return nil, fmt.Errorf("%w: %w", err, ErrForeign)
	case err != nil:
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("open %s: %w", path, ErrForeign)
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}

// WorldReadable reports whether every user of this machine can read the file: it and
// all directories above it are open to others. One that cannot be looked at is not.
func WorldReadable(path string) bool {
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	if resolved, err = filepath.Abs(resolved); err != nil {
		return false
	}
	const readable, searchable = 0o004, 0o001
	for need := fs.FileMode(readable); ; need = searchable {
		info, err := os.Stat(resolved)
		if err != nil || info.Mode()&need == 0 {
			return false
		}
		if resolved == filepath.Dir(resolved) {
			return true
		}
		resolved = filepath.Dir(resolved)
	}
}
