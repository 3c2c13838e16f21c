// Package spool has frames on disk until Redis has them: a bounded, crash-safe store
// with one file per frame, in one directory that belongs to one camera. It decides
// nothing: which frames go there and when, and what a loss means, is up to its caller,
// pkg/outbox.
//
//	<dir>/<epoch>/<block>/<epoch>-<seq>.frame   block = seq / 1000
//	<dir>/put.tmp                               the file being written
//	<dir>/quarantine/<epoch>-<seq>.frame        damaged files, for inspection
//
// It promises:
//
//   - A frame that Put accepted outlives the process (kill -9 too); one that a later
//     Sync covered outlives a power cut. A frame Put but not synced may be missing or
//     torn after a power cut. Torn files are never read as frames: a checksum covers the
//     ID, the length and every byte.
//   - The files never take more than MaxBytes (counted in 4 KiB disk blocks, because
//     that is what they occupy), and MinFree bytes of the disk stay free as far as that
//     depends on the spool. What exceeds that is dropped, oldest first, and each lost ID
//     is returned once, in a Loss.
//   - An error that may pass is never a loss: a file that cannot be read now is held, and
//     a disk that is full, read-only or out of descriptors costs nothing that is there.
//   - Removals are not synced: after a power cut delivered frames may be back. The
//     caller removes them again.
//   - No text from outside becomes a path; only an ID's digits do. Files that the spool
//     did not name are never touched.
//   - A frame's age is measured by the monotonic clock. For frames of an earlier process
//     it starts from the file's modification time, unless that or the present clock is
//     implausible: then from Open.
//
// It refuses a directory that another process has open, frames without an ID, and frames
// larger than MaxBytes. Any goroutine may call any method; Get, IDs and Stats do not wait
// for others' writes, Put does not wait for Sync.
package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/bytesize"
	"framekeeper/internal/files"
	"framekeeper/pkg/frame"
)

// Config says where a spool is and how much it may take.
type Config struct {
	Dir      string        // made if need be; for one camera alone
	MaxBytes int64         // what the files may take on disk
	MaxAge   time.Duration // older frames are dropped; 0: never
	// MinFree is how much of the disk is left free. 0 means 64 MiB or 2% of the
	// disk, whichever is less; below 0 means nothing.
	MinFree int64
	Log     zerolog.Logger
	Now     func() time.Time // nil: time.Now
}

// Loss is a run of IDs that the spool has dropped, or found damaged. Every ID from First
// to Last is lost; both are of one epoch.
type Loss struct {
	First, Last frame.ID
	Reason      string
}

// The reasons of a Loss.
const (
	ReasonFull    = "the spool was full (spool_max_bytes)"
	ReasonAge     = "they waited longer than spool_max_age"
	ReasonDisk    = "the disk was nearly full"
	ReasonDamaged = "their files in the spool were damaged"
	ReasonRefused = "the disk failed to store them"
)

// Stats is the state of a spool and its counters since Open: frames, except Errors,
// which are failed calls.
type Stats struct {
	Frames   int       `json:"frames"`
	Bytes    int64     `json:"bytes"` // on disk
	Oldest   frame.ID  `json:"oldest"`
	Newest   frame.ID  `json:"newest"`
	OldestAt time.Time `json:"oldest_at,omitzero"`
	Written  uint64    `json:"written"`
	Removed  uint64    `json:"removed"` // delivered
	Dropped  uint64    `json:"dropped"` // lost to a bound
	Corrupt  uint64    `json:"corrupt"` // damaged, set aside
	Errors   uint64    `json:"errors"`
}

// Spool is an open spool.
type Spool struct {
	cfg    Config
	opened time.Time
	root   *os.File // the directory, locked

	syncing sync.Mutex // held by one Sync from end to end; taken before ops

	ops       sync.Mutex // serialises changes to the directory, guards the fields below; taken before mu
	closed    bool
	current   place                 // where the last Put went: not removed although empty
	pending   map[frame.ID]*os.File // files whose data is not known to be on disk; nil: too many are open
	dirty     map[string]struct{}   // directories with names not known to be on disk
	inherited bool                  // files of an earlier process that may not be on disk
	free      freeDisk

	read func(path string, size int64) ([]byte, error) // readExactly; tests break it

	mu      sync.Mutex // guards the fields below; never held during I/O
	index   index
	stats   Stats // only the counters
	failing map[frame.ID]failure
}

const (
	maxFrame       = int(512 * bytesize.MiB) // Redis takes no larger value
	dirMode        = 0o750
	fileMode       = 0o640
	tempName       = "put.tmp"
	quarantineName = "quarantine"
)

// Stats is the state of the spool and its counters.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Frames, st.Bytes = s.index.frames, s.index.bytes
	if id, e, ok := s.index.oldest(); ok {
		st.Oldest, st.OldestAt = id, s.opened.Add(time.Duration(e.at)*tick).Round(0)
		st.Newest = s.index.newest()
	}
	return st
}

// IDs is up to n of the IDs above after, in order.
func (s *Spool) IDs(after frame.ID, n int) []frame.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.index.after(after, n)
}

// Close makes everything durable and gives the directory back. Frames that the
// disk refuses now are named in the error.
func (s *Spool) Close() error {
	losses, err := s.Sync()
	s.ops.Lock()
	defer s.ops.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	closeAll(s.pending) // those of a Put since the Sync above
	s.leave(s.current)
	files.Unlock(s.root)
	if err != nil && len(losses) > 0 {
		err = fmt.Errorf("%w; lost %s to %s", err, losses[0].First, losses[len(losses)-1].Last)
	}
	return err
}

// count changes a counter.
func (s *Spool) count(n *uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*n++
}

// failed counts an error that is returned to the caller, nil included.
func (s *Spool) failed(err error) error {
	if err != nil {
		s.count(&s.stats.Errors)
	}
	return err
}

func (s *Spool) dir(p place) string { return filepath.Join(s.cfg.Dir, p.epochName(), p.blockName()) }

func (s *Spool) path(id frame.ID) string { return filepath.Join(s.dir(placeOf(id)), fileName(id)) }

// addLoss adds one ID. Only neighbours share a Loss: a frame between two lost
// ones may well have been delivered.
func addLoss(losses []Loss, id frame.ID, reason string) []Loss {
	if n := len(losses); n > 0 && losses[n-1].Reason == reason && losses[n-1].Last.Next() == id {
		losses[n-1].Last = id
		return losses
	}
	return append(losses, Loss{First: id, Last: id, Reason: reason})
}

// What the methods fail with, by what can be done about it. Any other error is
// the file system's own.
var (
	ErrDiskFull = errors.New("no space left for the spool, free some or lower spool_max_bytes")
	ErrReadOnly = errors.New("the spool's directory cannot be written")
	ErrCorrupt  = errors.New("the spooled frame is damaged")              // Get: the file is set aside, the ID is lost
	ErrGone     = errors.New("the frame is not in the spool")             // Get: if it was lost, a Loss said so
	ErrTooLarge = errors.New("the frame is larger than the spool may be") // Put
	errNoID     = errors.New("a frame without an ID cannot be spooled")
	ErrInUse    = errors.New("another process has the spool open") // Open
	errClosed   = errors.New("the spool is closed")
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
