package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"framekeeper/internal/files"
	"framekeeper/pkg/frame"
)

const (
	// maxPending bounds the files held open between two Syncs.
	maxPending = 64
	// maxSingly is up to how many files are synced one by one. Each costs the
	// disk a flush; more get one sync of the whole file system, which costs one
	// flush but writes what others have changed as well.
	maxSingly = 8
)

// Sync makes durable what was Put before it was called: data and names. The
// losses are frames whose data the disk refused; they are not in the spool any more,
// and a caller that still has them may Put them again. After an error without
// losses the next Sync tries again.
func (s *Spool) Sync() (losses []Loss, err error) {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.ops.Lock()
	if s.closed {
		s.ops.Unlock()
		return nil, errClosed
	}
	files, dirs, inherited := s.pending, s.dirty, s.inherited
	s.pending, s.dirty, s.inherited = map[frame.ID]*os.File{}, map[string]struct{}{}, false
	s.ops.Unlock()

	if inherited || len(files) > maxSingly {
		e := retried(func() error { return unix.Syncfs(int(s.root.Fd())) })
		if e == nil {
			closeAll(files)
			return nil, nil
		}
		if inherited { // otherwise it may be the fault of others' files
			err = fmt.Errorf("sync file system: %w", e)
		}
	}
	again := err != nil
	refused, unknown, e := s.settle(files)
	err = cmp.Or(err, e)
	left, e := syncDirs(dirs)
	err = cmp.Or(err, e)
	if err == nil {
		return nil, nil
	}
	s.ops.Lock()
	defer s.ops.Unlock()
	s.inherited = s.inherited || again
	for _, dir := range left {
		s.dirty[dir] = struct{}{}
	}
	for _, id := range unknown {
		if _, open := s.pending[id]; !open && s.holds(id) {
			s.pending[id] = nil
		}
	}
	return s.dropRefused(refused), s.failed(fmt.Errorf("sync spool: %w", explain(err)))
}

// dropRefused drops frames whose data did not reach the disk: what can be read now may
// be torn after a power cut, and a second sync would not report that.
func (s *Spool) dropRefused(refused []frame.ID) (losses []Loss) {
	for _, id := range refused {
		if !s.holds(id) {
			continue
		}
		if s.discard(id) != nil {
			s.forget(id) // the next Open finds the file and Get judges it
		}
		losses = addLoss(losses, id, ReasonRefused)
		s.count(&s.stats.Dropped)
	}
	return losses
}

// settle syncs the files' data and closes them; err is the first failure. A file that
// was closed because too many were open (nil) is opened again; where that fails,
// nothing is known of its data.
func (s *Spool) settle(files map[frame.ID]*os.File) (refused, unknown []frame.ID, err error) {
	for _, id := range slices.SortedFunc(maps.Keys(files), frame.ID.Compare) {
		f, e := files[id], error(nil)
		if f == nil {
			f, e = os.Open(s.path(id))
		}
		switch {
		case errors.Is(e, fs.ErrNotExist): // removed since
			continue
		case e != nil:
			unknown = append(unknown, id)
		default:
			e = retried(func() error { return unix.Fdatasync(int(f.Fd())) })
			if e = cmp.Or(e, f.Close()); e != nil {
				refused = append(refused, id)
			}
		}
		if e != nil {
			err = cmp.Or(err, fmt.Errorf("frame %s: %w", id, e))
		}
	}
	return refused, unknown, err
}

func closeAll(files map[frame.ID]*os.File) {
	for _, f := range files {
		_ = f.Close() // synced, or on its way to disk as any file is
	}
}

// syncDirs makes the names in directories durable; left are those it could not.
func syncDirs(dirs map[string]struct{}) (left []string, err error) {
	for dir := range dirs {
		if e := files.SyncDir(dir); e != nil {
			left = append(left, dir)
			err = cmp.Or(err, e)
		}
	}
	return left, err
}

func retried(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
