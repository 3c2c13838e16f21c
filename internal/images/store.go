// Package images stores received frames as files under one directory, one
// subdirectory per camera:
//
//	images_dir/<camera>/20260131T081500.123456Z_<epoch>-<seq>.jpg
//	images_dir/<camera>/corrupt/…   what arrived damaged, for inspection
//	images_dir/.state/              watermarks and the lock
//
// It promises that a file under its final name is complete, that one frame is
// stored once however often it arrives (across restarts too), and that the
// directory stays within images_max_bytes and images_max_age by deleting the
// oldest images. Nothing from the network becomes a path: the camera's name is
// validated, time and ID are rendered again from their parsed values. Files it
// did not name are never touched.
//
// JPEG and PNG images are stored byte for byte. Raw frames become BMP files
// (.bmp): the same pixels, uncompressed, in a form every viewer opens, at the
// cost of one copy (1.3 ms for 1280x720 where a PNG took 68 ms, two frame
// intervals).
//
// After a power cut an image is either there and whole or not there: its bytes
// are on disk before it gets its name. The names of the last images may be
// missing until Sync; SaveWatermark syncs first, so a saved watermark never
// claims an image that a power cut took back.
//
// One process at a time may have a directory open; within it any goroutine may
// call any method.
package images

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"github.com/rs/zerolog"

	"framekeeper/internal/files"
	"framekeeper/pkg/frame"
)

// What Save can fail with, by what the caller can do about it. Every other
// error is the file system's, and trying the same message again may succeed.
var (
	ErrRefused  = errors.New("not an image that can be stored") // never will be
	ErrTooLarge = fmt.Errorf("%w: larger than images_max_bytes", ErrRefused)
	ErrCorrupt  = errors.New("image arrived damaged")                              // set aside under corrupt/
	ErrDiskFull = errors.New("no space left, free some or lower images_max_bytes") // try again later
	ErrInUse    = errors.New("another client stores images there")                 // Open only
)

// Store is an open images directory.
type Store struct {
	cfg  Config
	log  zerolog.Logger
	lock *os.File
	now  func() time.Time

	mu      sync.Mutex // guards everything below
	index   index
	cameras map[string]*cameraDir
	burst   burst
}

// cameraDir is one camera's directory.
type cameraDir struct {
	path string

	// mu is held for a whole Save, so that two copies of one frame cannot be
	// written at the same time; it guards dirty.
	mu    sync.Mutex
	dirty bool // an image got its name since the directory was last synced
}

// Save stores the image of m unless it is stored already, and returns where.
// Damaged images are set aside and reported as ErrCorrupt.
func (s *Store) Save(m *frame.Message) (path string, stored bool, err error) {
	p, err := newStoredImage(m)
	if err != nil {
		return "", false, err
	}
	dir := s.camera(p.camera)
	dir.mu.Lock()
	defer dir.mu.Unlock()
	path = p.path(s.cfg.Dir)
	switch fresh, err := s.reserve(p); {
	case err != nil:
		return "", false, err
	case !fresh:
		return path, false, p.damage
	}
	err = write(path, p.body)
	s.settle(p, err)
	if err != nil {
		return "", false, fmt.Errorf("store image %s of %s: %w", p.id, p.camera, explain(err))
	}
	dir.dirty = true
	return path, p.damage == nil, p.damage
}

// reserve makes room for p, or reports that it is already there.
func (s *Store) reserve(p storedImage) (fresh bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := int64(len(p.body))
	if size > int64(s.cfg.MaxBytes) {
		return false, fmt.Errorf("%w, %d bytes of %s", ErrTooLarge, size, s.cfg.MaxBytes)
	}
	if s.index.has(p.key) {
		return false, nil
	}
	s.index.reserved += size
	s.sweep(s.now(), maxExpirePerSave)
	return true, nil
}

// settle turns the reservation into an entry, or gives it back.
func (s *Store) settle(p storedImage, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := int64(len(p.body))
	s.index.reserved -= size
	if err == nil {
		s.index.push(entry{name: p.name, size: size, stored: s.now()})
	}
}

func (s *Store) camera(name string) *cameraDir {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cameras[name]
	if c == nil {
		c = &cameraDir{path: filepath.Join(s.cfg.Dir, name)}
		s.cameras[name] = c
	}
	return c
}

// Close makes everything durable and lets another process open the directory.
func (s *Store) Close() error {
	err := s.Sync()
	s.mu.Lock()
	s.burst.report(s.log)
	s.mu.Unlock()
	files.Unlock(s.lock)
	return err
}

// write puts body under path in one step.
func write(path string, body []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil { // each time: somebody may have removed it
		return err
	}
	t, err := renameio.NewPendingFile(path, renameio.WithTempDir(dir), renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer func() { _ = t.Cleanup() }() // nothing to do once it is renamed
	if _, err := t.Write(body); err != nil {
		return err
	}
	return t.CloseAtomicallyReplace()
}

// explain names the failure an operator can do something about.
func explain(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return err
}
