// Package unowned finds frames on disk that wait for a camera which the
// configuration does not name any more. Nobody sends them, bounds them or lets
// them grow old; all that can be done is to say so.
//
// It promises to change nothing on disk, not even a lock, and to name only what
// is named like a camera. A disk that does not answer holds it up, so whoever
// calls it must be able to wait. The controller is its only caller.
package unowned

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

	"framekeeper/pkg/camera"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/spool"
)

// Spool is one camera's frames without a camera.
type Spool struct {
	Camera string `json:"camera"` // the name it had
	Dir    string `json:"dir"`
	State  string `json:"state"` // what else there is of it: state_dir/<camera>
	Frames int    `json:"frames"`
	Bytes  int64  `json:"bytes"` // on disk
}

// Advice is what to do about it.
func (s Spool) Advice() string {
	return fmt.Sprintf("give a camera the name %s again and it goes on from there, or delete %s and %s", s.Camera, s.Dir, s.State)
}

// Waiting says how many frames wait: "1 frame waits", "66 frames wait".
func (s Spool) Waiting() string {
	if s.Frames == 1 {
		return "1 frame waits"
	}
	return fmt.Sprintf("%d frames wait", s.Frames)
}

// Place is what the configuration says.
type Place struct {
	StateDir, SpoolDir string
	Cameras            []string
}

// maxNames bounds how many names of one directory are looked at.
const maxNames = 10000

// Find looks for spools below spool_dir, and wherever an agent has last kept the
// frames of a camera that state_dir knows. busy says that some were left out
// because a process has them open: another controller's agent, or one that is
// just ending. What could not be read is in the error; the rest counts.
func Find(ctx context.Context, p Place) (found []Spool, busy bool, err error) {
	var errs []error
	candidates := map[string]string{} // directory → camera
	for _, dir := range []string{p.SpoolDir, p.StateDir} {
		names, err := cameras(dir)
		errs = append(errs, err)
		for _, name := range names {
			if dir == p.SpoolDir {
				candidates[place(dir, name)] = name
			} else if saved := saved(p.StateDir, name); saved != "" {
				candidates[saved] = name
			}
		}
	}
	for _, name := range p.Cameras {
		delete(candidates, place(p.SpoolDir, name))
		delete(candidates, saved(p.StateDir, name)) // it goes on from there at its start
	}
	for dir, name := range candidates {
		frames, bytes, err := spool.Count(ctx, dir)
		errs = append(errs, err)
		switch {
		case frames == 0:
		case locked(dir):
			busy = true
		default:
			found = append(found, Spool{Camera: name, Dir: dir, State: place(p.StateDir, name), Frames: frames, Bytes: bytes})
		}
	}
	slices.SortFunc(found, func(a, b Spool) int { return strings.Compare(a.Dir, b.Dir) })
	return found, busy, errors.Join(errs...)
}

// place is a camera's own directory in another.
func place(dir, name string) string {
	path := filepath.Join(dir, name)
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}

// saved is where the camera's agent has last kept frames, if that can be shown;
// "" if not.
func saved(stateDir, name string) string {
	dir := outbox.SavedSpool(stateDir, name)
	if !filepath.IsAbs(dir) || filepath.Base(dir) != name || strings.ContainsFunc(dir, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return filepath.Clean(dir)
}

// cameras are the directories in dir that have a camera's name.
func cameras(dir string) ([]string, error) {
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
	text, err := os.ReadFile("/proc/locks")
	if err != nil {
		return false // then it is told, and not touched
	}
	return names(string(text), unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)), st.Ino) //nolint:unconvert // 32 bits on some machines
}

// names reports whether the text of /proc/locks has a lock on an inode. There a
// device is the file system's; on btrfs, where each subvolume shows one of its
// own, and no disk is behind either, only the inode's number is to go by.
func names(locks string, major, minor uint32, inode uint64) bool {
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
