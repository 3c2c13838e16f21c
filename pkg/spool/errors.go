package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// What the methods fail with, by what can be done about it. Any other error is
// the file system's own.
var (
	ErrDiskFull = errors.New("no space left for the spool, free some or lower spool_max_bytes")
	ErrReadOnly = errors.New("the spool's directory cannot be written")
	ErrCorrupt  = errors.New("the spooled frame is damaged")      // Get: set aside; the ID is lost
	ErrGone     = errors.New("the spool does not hold the frame") // Get: if it was lost, that was told
	ErrTooLarge = errors.New("the frame is larger than the spool may be")
	ErrNoID     = errors.New("a frame without an ID cannot be spooled")
	ErrInUse    = errors.New("another process has the spool open") // Open
	ErrClosed   = errors.New("the spool is closed")
)

// explain adds to an error of the file system what an operator can do about it.
func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	return err
}
