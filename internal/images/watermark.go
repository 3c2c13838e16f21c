package images

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"framekeeper/internal/files"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
)

// Watermark is the ID up to which a camera's frames were stored when it was
// last saved; ok is false when none ever was.
func (s *Store) Watermark(name string) (id frame.ID, ok bool, err error) {
	path, err := s.watermarkPath(name)
	if err != nil {
		return frame.ID{}, false, err
	}
	f, err := files.OpenOwn(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return frame.ID{}, false, nil
	}
	if err != nil {
		return frame.ID{}, false, fmt.Errorf("read watermark: %w", err)
	}
	defer func() { _ = f.Close() }() // only read from
	b, err := io.ReadAll(io.LimitReader(f, 256))
	if err != nil {
		return frame.ID{}, false, fmt.Errorf("read watermark: %w", err)
	}
	id, err = frame.ParseID(strings.TrimSpace(string(b)))
	if err != nil {
		return frame.ID{}, false, fmt.Errorf("read watermark %s: %w", path, err)
	}
	return id, true, nil
}

// SaveWatermark notes that every frame up to id is stored, after making sure
// that they are.
func (s *Store) SaveWatermark(name string, id frame.ID) error {
	path, err := s.watermarkPath(name)
	if err != nil {
		return err
	}
	if err := s.camera(name).sync(); err != nil {
		return fmt.Errorf("save watermark: %w", err)
	}
	if err := write(path, []byte(id.String()+"\n")); err != nil {
		return fmt.Errorf("save watermark: %w", explain(err))
	}
	return nil
}

func (s *Store) watermarkPath(name string) (string, error) {
	if !camera.ValidName(name) {
		return "", fmt.Errorf("watermark of camera %.80q: its name must be %s", name, camera.NameExpected)
	}
	return filepath.Join(s.cfg.Dir, stateDir, name+".watermark"), nil
}

// Sync makes the names of all stored images survive a power cut.
func (s *Store) Sync() error {
	s.mu.Lock()
	dirs := make([]*cameraDir, 0, len(s.cameras))
	for _, c := range s.cameras {
		dirs = append(dirs, c)
	}
	s.mu.Unlock()
	var errs []error
	for _, c := range dirs {
		errs = append(errs, c.sync())
	}
	return errors.Join(errs...)
}

func (c *cameraDir) sync() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dirty {
		return nil
	}
	for _, dir := range []string{c.path, filepath.Dir(c.path)} { // the parent too: the camera may be new
		if err := files.SyncDir(dir); err != nil {
			return fmt.Errorf("sync images: %w", err)
		}
	}
	c.dirty = false
	return nil
}
