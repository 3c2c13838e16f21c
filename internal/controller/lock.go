package controller

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"framekeeper/internal/files"

	"golang.org/x/sys/unix"
)

// lockName is both lock and pid file. It is never removed: who removes a lock
// file may remove the lock of somebody who has just taken it.
const lockName = "controller.lock"

// errNoState means that the state directory cannot be written (a read-only SD
// card), so that there is no lock. A box can still work without.
var errNoState = errors.New("state_dir cannot be written")

// lockState makes the state directory and takes the lock that only one
// controller can have on it. The kernel gives it back when the process ends.
func lockState(ctx context.Context, dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, noState(err)
	}
	f, err := files.OpenOwn(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o644)
	if errors.Is(err, files.ErrForeign) {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err != nil {
		return nil, noState(err)
	}
	err = takeLock(ctx, f)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		err = fmt.Errorf("another controller%s uses state_dir %s: stop it (systemctl stop framekeeper-controller, or scripts/stop.sh), or give this one another state_dir", holder(f), dir)
	case err != nil:
		err = noState(err)
	default:
		err = f.Truncate(0) // the pid of one that has ended would mislead
	}
	if err != nil {
		_ = f.Close() // the first error counts
		return nil, err
	}
	return f, nil
}

// takeLock tries for a second: status.sh holds the lock for a moment when it
// looks whether anybody has it, and a controller that is being restarted has
// it until its process is gone.
func takeLock(ctx context.Context, f *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := files.Lock(f)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return err
		}
	}
}

func noState(err error) error { return fmt.Errorf("%w: %w", errNoState, err) }

// announce writes our pid into the lock file, for stop.sh, and for start.sh to
// see that the start has succeeded.
func announce(lock *os.File) error {
	if _, err := lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return fmt.Errorf("write pid: %w", err)
	}
	return nil
}

// holder names the process that has the lock, if the file names it.
func holder(f *os.File) string {
	b := make([]byte, 32)
	n, _ := f.ReadAt(b, 0) // an empty file is as good as none
	if pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n]))); err == nil {
		return fmt.Sprintf(" (pid %d)", pid)
	}
	return ""
}
