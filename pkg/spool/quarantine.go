package spool

import (
	"os"
	"path/filepath"
	"slices"
	"time"

	"framekeeper/internal/bytesize"
)

// The quarantine is for finding out what damages files, not an archive.
const (
	quarantineFiles = 20
	quarantineBytes = int64(64 * bytesize.MiB)
)

// setAside moves a damaged file into the quarantine under name, or deletes it
// if that cannot be. On a disk that is read-only it stays.
func (s *Spool) setAside(path, name, reason string) {
	to := filepath.Join(s.cfg.Dir, quarantineName, name)
	if info, err := os.Lstat(filepath.Dir(to)); err == nil && !info.IsDir() {
		_ = os.Remove(filepath.Dir(to)) // a link would lead out of the spool
	}
	err := os.Rename(path, to)
	if os.IsNotExist(err) {
		if os.Mkdir(filepath.Dir(to), dirMode) == nil {
			err = os.Rename(path, to)
		}
	}
	if err != nil {
		_ = os.Remove(path) // logged below as not moved
	}
	s.cfg.Log.Warn().Str("file", name).Str("reason", reason).Str("kept_as", s.boundQuarantine(to)).
		Msg("A spooled frame is damaged")
}

// boundQuarantine deletes the oldest files there beyond its bounds, and returns
// added if that file is still there.
func (s *Spool) boundQuarantine(added string) string {
	type file struct {
		path     string
		size     int64
		modified time.Time
	}
	entries, err := os.ReadDir(filepath.Dir(added))
	if err != nil {
		return ""
	}
	var files []file
	var total int64
	kept := ""
	for _, e := range entries {
		info, err := e.Info()
		if _, ours := parseName(e.Name()); err != nil || !ours || !info.Mode().IsRegular() {
			continue
		}
		f := file{filepath.Join(filepath.Dir(added), e.Name()), info.Size(), info.ModTime()}
		files = append(files, f)
		total += cost(f.size)
		if f.path == added {
			kept = added
		}
	}
	slices.SortStableFunc(files, func(a, b file) int { return a.modified.Compare(b.modified) })
	limit := min(quarantineBytes, s.cfg.MaxBytes/8)
	for count := len(files); count > quarantineFiles || total > limit; count-- {
		f := files[len(files)-count]
		if os.Remove(f.path) != nil {
			return kept
		}
		total -= cost(f.size)
		if f.path == added {
			kept = ""
		}
	}
	return kept
}
