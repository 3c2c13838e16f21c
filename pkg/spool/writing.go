package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"framekeeper/pkg/frame"
)

// Put writes one frame to its file, and drops older ones if it needs their room. The
// losses hold even with an error; one of them is the frame itself if it is older than
// all that would have to go. With an error nothing of the frame is on disk and the
// caller still has it: ErrDiskFull and ErrReadOnly may pass, ErrTooLarge does not. A
// disk that is fuller than it says (quota, inodes) costs no older ones. A frame that is
// there already stays as it is.
func (s *Spool) Put(m *frame.Message) (losses []Loss, err error) {
	s.ops.Lock()
	defer s.ops.Unlock()
	losses, err = s.put(m)
	if err != nil {
		err = s.failed(fmt.Errorf("spool frame %s: %w", m.Header.ID, err))
	}
	return losses, err
}

func (s *Spool) put(m *frame.Message) (losses []Loss, err error) {
	id, size := m.Header.ID, int64(prefixSize+m.Size())
	need := cost(size)
	switch {
	case s.closed:
		return nil, errClosed
	case id.IsZero():
		return nil, errNoID
	case need > s.cfg.MaxBytes, m.Size() > maxFrame:
		return nil, ErrTooLarge
	case s.holds(id):
		return nil, nil
	}
	losses, fits, err := s.makeRoom(id, need)
	if err != nil || !fits {
		return losses, err
	}
	if err := s.write(m); err != nil {
		return losses, err
	}
	s.free.avail -= need
	s.free.wrote += need
	if p := placeOf(id); p != s.current {
		old := s.current
		s.current = p
		s.leave(old)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index.insert(id, size, s.ticks(s.cfg.Now()))
	s.stats.Written++
	return losses, nil
}

func (s *Spool) holds(id frame.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.index.get(id)
	return ok
}

func (s *Spool) oldest() (frame.ID, entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.index.oldest()
}

// write makes the file under its temporary name and renames it into place. The
// file stays open until its data is synced.
func (s *Spool) write(m *frame.Message) error {
	temp := filepath.Join(s.cfg.Dir, tempName)
	f, err := create(temp)
	if err != nil {
		return explain(err)
	}
	prefix := encodePrefix(m.Header.ID, m.Wire())
	if _, err = f.Write(prefix[:]); err == nil {
		_, err = f.Write(m.Wire())
	}
	if err == nil {
		err = s.moveIn(temp, m.Header.ID)
	}
	if err != nil {
		_ = f.Close() // it is thrown away
		_ = os.Remove(temp)
		return explain(err)
	}
	if len(s.pending) >= maxPending {
		_ = f.Close() // the next Sync opens it again if it has to
		f = nil
	}
	s.pending[m.Header.ID] = f
	return nil
}

// create never opens a file that exists: it could be a second name of a frame.
func create(path string) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	f, err := os.OpenFile(path, flags, fileMode)
	if errors.Is(err, fs.ErrExist) {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(path, flags, fileMode)
	}
	return f, err
}

// moveIn renames the finished file into place, making its directories if they
// are missing, and notes what a Sync has to make durable.
func (s *Spool) moveIn(temp string, id frame.ID) error {
	p := placeOf(id)
	dir, path := s.dir(p), s.path(id)
	err := os.Rename(temp, path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, dirMode); err != nil {
			s.leave(p)
			return err
		}
		s.dirty[filepath.Dir(dir)] = struct{}{}
		s.dirty[s.cfg.Dir] = struct{}{}
		if err = os.Rename(temp, path); err != nil {
			s.leave(p)
			return err
		}
	}
	if err == nil {
		s.dirty[dir] = struct{}{}
	}
	return err
}

// Remove deletes every frame up to upTo: Redis has them. A file that cannot be deleted
// leaves the index all the same; the next Open finds it again.
func (s *Spool) Remove(upTo frame.ID) error {
	s.ops.Lock()
	defer s.ops.Unlock()
	if s.closed {
		return errClosed
	}
	var first error
	for {
		id, _, ok := s.oldest()
		if !ok || upTo.Less(id) {
			return s.failed(first)
		}
		if err := s.discard(id); err != nil {
			s.forget(id)
			if first == nil {
				first = fmt.Errorf("remove delivered frame %s: %w", id, err)
			}
		}
		s.count(&s.stats.Removed)
	}
}
