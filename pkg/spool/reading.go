package spool

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"framekeeper/internal/files"
	"framekeeper/pkg/frame"
)

// Get reads a frame. ErrGone: it is not there, and if it was lost a Loss said so.
// ErrCorrupt: its file is proven to be damaged, or has vanished; it is set aside, the
// frame is not in the spool any more, and the caller has a loss to declare. After any
// other error, which may pass (EIO, EMFILE, EACCES and the like), the frame is still
// there. One that does not pass is damage in the end: see outlasted.
func (s *Spool) Get(id frame.ID) (*frame.Message, error) {
	s.mu.Lock()
	e, ok := s.index.get(id)
	s.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("read frame %s: %w", id, ErrGone)
	}
	m, err := s.readFrame(id, int64(e.size))
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.failing, id)
		return m, nil
	}
	if !errors.Is(err, ErrCorrupt) && s.outlasted(id) {
		err = fmt.Errorf("%w: %w, while other files can be read", ErrCorrupt, err)
	}
	if !errors.Is(err, ErrCorrupt) {
		return nil, s.failed(fmt.Errorf("read frame %s: %w", id, err))
	}
	s.ops.Lock()
	defer s.ops.Unlock()
	switch {
	case s.closed:
		err = errClosed
	case !s.holds(id):
		err = ErrGone // removed while it was read
	default:
		s.setAside(s.path(id), fileName(id), err.Error())
		s.forget(id)
		s.count(&s.stats.Corrupt)
	}
	return nil, fmt.Errorf("read frame %s: %w", id, err)
}

// maxHeader is above every header's length.
const maxHeader = 256 << 10

// Header reads the header of a frame, without its image and without a check for damage:
// good for choosing what to Get.
func (s *Spool) Header(id frame.ID) (frame.Header, error) {
	if !s.holds(id) {
		return frame.Header{}, fmt.Errorf("read header of frame %s: %w", id, ErrGone)
	}
	h, err := readHeader(s.path(id))
	if err != nil {
		return h, fmt.Errorf("read header of frame %s: %w", id, err)
	}
	return h, nil
}

func readHeader(path string) (frame.Header, error) {
	f, err := files.OpenOwn(path, os.O_RDONLY, 0)
	if err != nil {
		return frame.Header{}, err
	}
	defer func() { _ = f.Close() }() // read only
	r := bufio.NewReader(io.LimitReader(f, maxHeader))
	if _, err := r.Discard(prefixSize); err != nil {
		return frame.Header{}, err
	}
	text, err := r.ReadBytes('\n')
	if err != nil {
		return frame.Header{}, err
	}
	return frame.ParseHeader(text)
}

// readFrame reads the file of a frame, which should have size bytes. ErrCorrupt is
// proof of damage; other errors may pass.
func (s *Spool) readFrame(id frame.ID, size int64) (*frame.Message, error) {
	path := s.path(id)
	data, err := s.read(path, size)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := s.vanished(path); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: its file has vanished", ErrCorrupt)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	case err != nil:
		return nil, err
	}
	return decode(id, data)
}

func readExactly(path string, size int64) ([]byte, error) {
	f, err := files.OpenOwn(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() != size {
		return nil, fmt.Errorf("%w: %d bytes, expected %d", ErrCorrupt, info.Size(), size)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, err
	}
	return data, nil
}
