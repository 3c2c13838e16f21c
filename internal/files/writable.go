package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Directory is a directory to store things in.
type Directory struct {
	Dir   string
	Below []string // directories in it that count too, if they are there

	// Lock is a file in it that its user has had open from the start on; nil: none.
	// If it is not there any more, the directory is not the one that is worked with.
	Lock *os.File

	// Reserve is what the directory's user leaves free of a disk of that size; nil:
	// nothing. With less than half of it the disk counts as full: at all of it the
	// user stops by itself, and comes and goes around that.
	Reserve func(size int64) int64
}

// Code is the kind of reason why a directory cannot be written.
type Code string

// The codes. "" is a directory that can be written.
const (
	Full     Code = "full"
	ReadOnly Code = "read_only"
	Gone     Code = "gone"    // the directory is not the one that is worked with
	Hangs    Code = "hangs"   // for who waits for WhyUnwritable
	Refused  Code = "refused" // anything else: no permission, no directory
)

// Unwritable is a directory that cannot be written.
type Unwritable struct {
	Settings []string `json:"settings"` // which name it
	Dir      string   `json:"dir"`
	Reason   string   `json:"reason"`
	Code     Code     `json:"code,omitempty"`
}

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
func WhyUnwritable(d Directory) (reason string, code Code) {
	if reason, code = whyUnwritable(d.Dir, d.Reserve); code != "" {
		return reason, code
	}
	for _, name := range d.Below {
		if err := access(filepath.Join(d.Dir, name)); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Sprintf("%s: %v", name, err), codeOf(err)
		}
	}
	if d.Lock != nil && !holds(d) {
		return "its lock is not there any more: the directory was deleted, moved or mounted over", Gone
	}
	return "", ""
}

// holds reports whether the lock is where it was made.
func holds(d Directory) bool {
	had, err := d.Lock.Stat()
	if err != nil {
		return true // closed: its user is ending
	}
	has, err := os.Stat(filepath.Join(d.Dir, filepath.Base(d.Lock.Name())))
	return err == nil && os.SameFile(had, has)
}

func whyUnwritable(dir string, reserve func(int64) int64) (string, Code) {
	err := access(dir)
	if above := filepath.Dir(dir); errors.Is(err, unix.ENOENT) && above != dir {
		return whyUnwritable(above, reserve) // it is made when it is needed
	}
	var s unix.Statfs_t
	if err == nil {
		err = unix.Statfs(dir, &s)
	}
	if err != nil {
		return err.Error(), codeOf(err)
	}
	unit, least := int64(s.Bsize), int64(minFree) //nolint:unconvert // it is an int32 on 32-bit ARM
	if reserve != nil {
		least = max(least, reserve(int64(s.Blocks)*unit)/2) //nolint:gosec // no disk is that large
	}
	switch { // some file systems count nothing
	case s.Blocks > 0 && int64(s.Bavail)*unit < least: //nolint:gosec // no disk is that large
		return "the disk is full", Full
	case s.Files > 0 && s.Ffree == 0:
		return "the disk has no inode left for another file", Full
	}
	return "", ""
}

// access asks for the directory itself: of a file there the kernel would report
// that it can be written. A file system that is read-only it reports here too.
func access(dir string) error { return unix.Access(dir+"/.", unix.W_OK|unix.X_OK) }

func codeOf(err error) Code {
	if errors.Is(err, unix.EROFS) {
		return ReadOnly
	}
	return Refused
}

// Name is what cannot be written: "state_dir".
func (u *Unwritable) Name() string { return strings.Join(u.Settings, " and ") }

func (u *Unwritable) String() string {
	return fmt.Sprintf("%s cannot be written: %s: %s", u.Name(), u.Dir, u.Reason)
}

// Advice is what to do about it.
func (u *Unwritable) Advice() string {
	switch u.Code {
	case Full:
		return "free the disk"
	case Gone:
		return "bring it back, or restart the controller, which makes it anew: systemctl restart framekeeper-controller, or scripts/stop.sh and start.sh"
	case Hangs:
		return "check the disk, or restart the box"
	case ReadOnly:
		return "mount it for writing; a card that became read-only by itself is failing: replace it"
	default:
		return "correct it, or give the directory to the user that the controller runs as"
	}
}
