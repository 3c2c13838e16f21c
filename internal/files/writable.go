package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Directory is a directory to keep things in.
type Directory struct {
	Dir   string
	Below []string // directories in it that count too, if they are there

	// Lock is a file in it that its user has had open from the start on; nil: none.
	// If it is not there any more, the directory is not the one that is worked with.
	Lock *os.File

	// Reserve is what the place's user leaves free of a disk of that size; nil:
	// nothing. With less than half of it the disk counts as full: at all of it the
	// user stops by itself, and comes and goes around that.
	Reserve func(size int64) int64
}

// Unwritable is a place that cannot be written.
type Unwritable struct {
	Settings []string `json:"settings"` // several if one lies in another
	Dir      string   `json:"dir"`      // of the first
	Reason   string   `json:"reason"`
}

// The reasons that are not the kernel's own words.
const (
	full     = "the disk is full"
	noInodes = "the disk has no inode left for another file"
	gone     = "its lock is not there any more: the directory was deleted, moved or mounted over"
	Hangs    = "the disk does not answer" // for who waits for WhyUnwritable
)

// minFree is what a file system must have left. A camera's state needs less than
// 1 KiB, and a block for its name.
const minFree = 64 << 10

// WhyUnwritable is the reason why a directory cannot be written; "" if it can be.
// A disk that became full or read-only is otherwise noticed only at the next
// outage or start, which is when it is needed.
//
// It writes nothing itself, because it is called every few seconds for years, and
// on SD cards. So it sees what the kernel reports (mounted read-only, no
// permission, no room), and not a card that accepts writes and forgets them. A
// disk that does not answer blocks it, so the caller must be able to wait.
func WhyUnwritable(p Directory) string {
	if reason := look(p.Dir, p.Reserve); reason != "" {
		return reason
	}
	for _, name := range p.Below {
		if err := access(filepath.Join(p.Dir, name)); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Sprintf("%s: %v", name, err)
		}
	}
	if p.Lock != nil && !holds(p) {
		return gone
	}
	return ""
}

// holds reports whether the lock is where it was made.
func holds(p Directory) bool {
	had, err := p.Lock.Stat()
	if err != nil {
		return true // closed: its user is ending
	}
	has, err := os.Stat(filepath.Join(p.Dir, filepath.Base(p.Lock.Name())))
	return err == nil && os.SameFile(had, has)
}

func look(dir string, reserve func(int64) int64) string {
	err := access(dir)
	if above := filepath.Dir(dir); errors.Is(err, unix.ENOENT) && above != dir {
		return look(above, reserve) // it is made when it is needed
	}
	if err != nil {
		return err.Error()
	}
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return err.Error()
	}
	unit, least := int64(s.Bsize), int64(minFree) //nolint:unconvert // it is an int32 on 32-bit ARM
	if reserve != nil {
		least = max(least, reserve(int64(s.Blocks)*unit)/2) //nolint:gosec // no disk is that large
	}
	switch { // some file systems count nothing
	case s.Blocks > 0 && int64(s.Bavail)*unit < least: //nolint:gosec // no disk is that large
		return full
	case s.Files > 0 && s.Ffree == 0:
		return noInodes
	}
	return ""
}

// access asks for the directory itself: of a file there the kernel would say
// that it can be written. A file system that is read-only is noticed here too.
func access(dir string) error { return unix.Access(dir+"/.", unix.W_OK|unix.X_OK) }

// Merged makes one trouble of those that are one.
func Merged(all []Unwritable) []Unwritable {
	var out []Unwritable
next:
	for _, t := range all {
		for i := range out {
			if o := &out[i]; o.Reason == t.Reason && strings.HasPrefix(filepath.Clean(t.Dir)+"/", filepath.Clean(o.Dir)+"/") {
				o.Settings = append(o.Settings[:len(o.Settings):len(o.Settings)], t.Settings...)
				continue next
			}
		}
		out = append(out, t)
	}
	return out
}

// Name is what cannot be written: "state_dir and spool_dir".
func (t *Unwritable) Name() string { return strings.Join(t.Settings, " and ") }

func (t *Unwritable) String() string {
	return fmt.Sprintf("%s cannot be written: %s: %s", t.Name(), t.Dir, t.Reason)
}

// Advice is what to do about it.
func (t *Unwritable) Advice() string {
	switch {
	case t.Reason == full, t.Reason == noInodes:
		return "free the disk"
	case t.Reason == gone:
		return "bring it back, or restart the controller, which makes it anew: systemctl restart framekeeper-controller, or scripts/stop.sh and start.sh"
	case t.Reason == Hangs:
		return "check the disk, or restart the box"
	case strings.Contains(t.Reason, unix.EROFS.Error()):
		return "mount it for writing; a card that became read-only by itself is failing: replace it"
	default:
		return "correct it, or give the directory to the user that the controller runs as"
	}
}
