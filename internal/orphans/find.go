package orphans

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"

	"framekeeper/internal/status"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/spool"
)

// maxNames bounds how many names of one directory are read.
const maxNames = 10000

// find searches spool_dir, and wherever an agent last had the spool of a camera
// that state_dir names. inUse reports that some were left out because a process
// has them open: another controller's agent, or one that is just ending. What
// could not be read is in the error; the rest counts.
func find(ctx context.Context, d Dirs) (found []status.OrphanedSpool, inUse bool, err error) {
	var errs []error
	candidates := map[string]string{} // directory → camera
	for _, dir := range []string{d.Spool, d.State} {
		names, err := cameraNames(dir)
		errs = append(errs, err)
		for _, name := range names {
			if dir == d.Spool {
				candidates[below(dir, name)] = name
			} else if saved := savedSpool(d.State, name); saved != "" {
				candidates[saved] = name
			}
		}
	}
	for _, name := range d.Cameras {
		delete(candidates, below(d.Spool, name))
		delete(candidates, savedSpool(d.State, name)) // it goes on from there at its start
	}
	for dir, name := range candidates {
		frames, bytes, err := spool.Count(ctx, dir)
		errs = append(errs, err)
		switch {
		case frames == 0:
		case locked(dir):
			inUse = true
		default:
			found = append(found, status.OrphanedSpool{Camera: name, Dir: dir, State: below(d.State, name), Frames: frames, Bytes: bytes})
		}
	}
	slices.SortFunc(found, func(a, b status.OrphanedSpool) int { return strings.Compare(a.Dir, b.Dir) })
	return found, inUse, errors.Join(errs...)
}

// below is a camera's own directory in another, absolute if possible.
func below(dir, name string) string {
	path := filepath.Join(dir, name)
	if absolute, err := filepath.Abs(path); err == nil {
		return absolute
	}
	return path
}

// savedSpool is the last spool of the camera's agent, if its path can be shown;
// "" if not.
func savedSpool(stateDir, name string) string {
	dir := outbox.SavedSpool(stateDir, name)
	if !filepath.IsAbs(dir) || filepath.Base(dir) != name || strings.ContainsFunc(dir, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return filepath.Clean(dir)
}

// cameraNames are the directories in dir that have a camera's name.
func cameraNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }() // only read from
	entries, err := d.ReadDir(maxNames)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && camera.ValidName(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// locked reports whether a process has the spool open. Trying its lock would be
// in the way of an agent that starts just then.
func locked(dir string) bool {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return false
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return false // then it is reported, and not touched
	}
	return hasLock(string(locks), unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)), st.Ino) //nolint:unconvert // 32 bits on some machines
}

// hasLock reports whether the text of /proc/locks has a lock on an inode. There a
// device is the file system's; on btrfs, where each subvolume shows one of its
// own, and no disk is behind either, only the inode's number is to go by.
func hasLock(locks string, major, minor uint32, inode uint64) bool {
	exact, numbered := fmt.Sprintf("%02x:%02x:%d", major, minor, inode), fmt.Sprintf(":%d", inode)
	for line := range strings.Lines(locks) {
		fields := strings.Fields(line)
		if slices.Contains(fields, "FLOCK") && slices.ContainsFunc(fields, func(f string) bool {
			return f == exact || major == 0 && strings.HasPrefix(f, "00:") && strings.HasSuffix(f, numbered)
		}) {
			return true
		}
	}
	return false
}
