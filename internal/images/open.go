package images

import (
	"framekeeper/internal/bytesize"
	"framekeeper/internal/files"

	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"framekeeper/pkg/camera"
)

// Config are the keys of the [client] table that a Store uses.
type Config struct {
	Dir      string        `toml:"images_dir"`
	MaxBytes bytesize.Size `toml:"images_max_bytes"`
	MaxAge   time.Duration `toml:"images_max_age"`
}

// Default is a table that the file leaves out.
func Default() Config {
	return Config{Dir: "./images", MaxBytes: 10 * bytesize.GiB, MaxAge: 720 * time.Hour}
}

// Validate reports everything that is wrong with them.
func (c *Config) Validate(report func(key, value, expected string)) {
	if c.Dir == "" {
		report("images_dir", "", "a directory")
	}
	if c.MaxBytes < bytesize.MiB {
		report("images_max_bytes", c.MaxBytes.String(), "at least 1MiB")
	}
	if c.MaxAge < time.Minute {
		report("images_max_age", c.MaxAge.String(), "at least 1m")
	}
}

// Open makes the directory if need be, locks it against other processes,
// removes what a killed run left half-written, and reads what is there.
func Open(cfg Config, log zerolog.Logger) (*Store, error) {
	return open(cfg, log, time.Now)
}

func open(cfg Config, log zerolog.Logger, now func() time.Time) (*Store, error) {
	state := filepath.Join(cfg.Dir, stateDir)
	if err := os.MkdirAll(state, 0o755); err != nil {
		return nil, fmt.Errorf("open images_dir: %w", explain(err))
	}
	lock, err := lockDir(filepath.Join(state, "lock"))
	if err != nil {
		return nil, fmt.Errorf("open images_dir %s: %w", cfg.Dir, err)
	}
	s := &Store{cfg: cfg, log: log, lock: lock, now: now, cameras: map[string]*cameraDir{}}
	entries, err := s.list()
	if err != nil {
		_ = lock.Close() // the first error is the one to report
		return nil, fmt.Errorf("read images_dir %s: %w", cfg.Dir, err)
	}
	s.index = newIndex(entries)
	s.Sweep()
	return s, nil
}

// lockDir takes the lock that dies with the process.
func lockDir(path string) (*os.File, error) {
	f, err := files.OpenOwn(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, explain(err)
	}
	if err = files.Lock(f); err == nil {
		return f, nil
	}
	_ = f.Close() // nothing was written
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, ErrInUse
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}

// list reads every camera's directory once.
func (s *Store) list() ([]entry, error) {
	removed := removeTemps(filepath.Join(s.cfg.Dir, stateDir), func(file string) bool {
		return strings.HasPrefix(file, ".")
	})
	dirs, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for _, d := range dirs {
		path := filepath.Join(s.cfg.Dir, d.Name())
		info, err := os.Stat(path) // through a symlink: a camera may have its own disk
		if !camera.ValidName(d.Name()) || err != nil || !info.IsDir() {
			continue
		}
		for _, corrupt := range []bool{false, true} {
			dir := path
			if corrupt {
				dir = filepath.Join(path, corruptDir)
			}
			removed += removeTemps(dir, tempFile.MatchString)
			found, err := listDir(dir, d.Name(), corrupt, s.now())
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			entries = append(entries, found...)
		}
	}
	if removed > 0 {
		s.log.Info().Int("files", removed).Msg("Removed incomplete files of an earlier run")
	}
	return entries, nil
}

// plausibleFrom is before every machine that runs this was installed.
var plausibleFrom = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant

// storedAt is when a file was stored, on the clock that does not jump, so that
// setting the wall clock later makes no image old. One that was stored by a
// clock that had never been set counts as stored now: better deleted too late than
// at once.
func storedAt(now, modified time.Time) time.Time {
	if modified.Before(plausibleFrom) || now.Before(plausibleFrom) {
		return now
	}
	return now.Add(-now.Round(0).Sub(modified))
}

// listDir finds the stored files of one directory.
func listDir(dir, camera string, corrupt bool, now time.Time) ([]entry, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	entries := make([]entry, 0, len(files))
	for _, f := range files {
		n, ok := parseFile(camera, f.Name(), corrupt)
		if !ok {
			continue
		}
		info, err := f.Info()
		if err != nil || !info.Mode().IsRegular() { // gone since, or not a file of ours
			continue
		}
		entries = append(entries, entry{name: n, size: info.Size(), stored: storedAt(now, info.ModTime())})
	}
	return entries, nil
}

// removeTemps deletes half-written files; one that will not go is no reason
// not to start, it only takes up room.
func removeTemps(dir string, temp func(file string) bool) (removed int) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, f := range files {
		if temp(f.Name()) && f.Type().IsRegular() && os.Remove(filepath.Join(dir, f.Name())) == nil {
			removed++
		}
	}
	return removed
}
