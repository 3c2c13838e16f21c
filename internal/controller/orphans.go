package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"framekeeper/internal/async"
	"framekeeper/internal/configfile"
	"framekeeper/internal/status"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/spool"
)

const (
	orphanInterval = time.Minute // between two searches
	maxNames       = 10000       // of one directory are read
)

// orphans searches for orphaned spools: frames on disk of a camera which the
// configuration does not name any more. Nobody sends them, bounds them or lets
// them expire. It changes nothing on disk, for they were promised to somebody, and
// reports only what is named like a camera.
type orphans struct {
	config func() *configfile.Config
	log    func() *zerolog.Logger
	wake   async.Wake
	logged map[string]bool // by directory; only run uses it

	mu    sync.Mutex // guards found
	found []status.OrphanedSpool
}

func newOrphans(config func() *configfile.Config, log func() *zerolog.Logger) *orphans {
	return &orphans{config: config, log: log, wake: async.NewWake(), logged: map[string]bool{}}
}

// last is what the last search found.
func (o *orphans) last() []status.OrphanedSpool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.found
}

// run searches until ctx ends.
func (o *orphans) run(ctx context.Context) error {
	untilEnd(ctx, func() {
		for ctx.Err() == nil {
			o.search(ctx)
			select {
			case <-time.After(orphanInterval):
			case <-o.wake:
			case <-ctx.Done():
			}
		}
	})
	return nil
}

// search searches once, and logs what is new.
func (o *orphans) search(ctx context.Context) {
	found, err := findOrphans(ctx, o.config())
	if ctx.Err() != nil {
		return // the search was interrupted, and may have missed some
	}
	if err != nil {
		o.log().Debug().Err(err).Msg("Not everything could be searched for orphaned spools")
	}
	o.mu.Lock()
	o.found = found
	o.mu.Unlock()
	for _, s := range found {
		if !o.logged[s.Dir] {
			o.log().Warn().Str("camera", s.Camera).Str("dir", s.Dir).Int("frames", s.Frames).Int64("bytes", s.Bytes).Str("advice", s.Item().Advice).
				Msg("Orphaned spool: frames wait on disk for a camera that is not configured")
		}
		o.logged[s.Dir] = true
	}
}

// findOrphans searches spool_dir, and wherever an agent last had the spool of a
// camera that state_dir names. What could not be read is in the error; the rest
// counts.
func findOrphans(ctx context.Context, cfg *configfile.Config) (found []status.OrphanedSpool, err error) {
	var errs []error
	candidates := map[string]string{} // directory → camera
	for _, dir := range []string{cfg.Delivery.SpoolDir, cfg.StateDir} {
		names, err := cameraNames(dir)
		errs = append(errs, err)
		for _, name := range names {
			candidates[absolute(cfg.Delivery.SpoolDir, name)] = name
			candidates[savedSpool(cfg.StateDir, name)] = name
		}
	}
	delete(candidates, "")
	for i := range cfg.Cameras {
		delete(candidates, absolute(cfg.Delivery.SpoolDir, cfg.Cameras[i].Name))
		delete(candidates, savedSpool(cfg.StateDir, cfg.Cameras[i].Name)) // it goes on from there at its start
	}
	for dir, name := range candidates {
		frames, bytes, err := spool.Count(ctx, dir)
		errs = append(errs, err)
		if frames > 0 && !inUse(dir) {
			found = append(found, status.OrphanedSpool{Camera: name, Dir: dir, State: absolute(cfg.StateDir, name), Frames: frames, Bytes: bytes})
		}
	}
	slices.SortFunc(found, func(a, b status.OrphanedSpool) int { return strings.Compare(a.Dir, b.Dir) })
	return found, errors.Join(errs...)
}

// absolute is a camera's own directory in another.
func absolute(dir, name string) string {
	path := filepath.Join(dir, name)
	if absolute, err := filepath.Abs(path); err == nil {
		return absolute
	}
	return path
}

// savedSpool is the last spool of the camera's agent, if its path can be shown;
// "" if not.
func savedSpool(stateDir, name string) string {
	dir := outbox.SavedSpool(stateDir, name)
	if !filepath.IsAbs(dir) || filepath.Base(dir) != name || strings.ContainsFunc(dir, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return filepath.Clean(dir)
}

// cameraNames are the directories in dir that have a camera's name.
func cameraNames(dir string) (names []string, err error) {
	d, err := os.Open(dir) //nolint:gosec // as configured
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }() // only read from
	entries, err := d.ReadDir(maxNames)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	for _, e := range entries {
		if e.IsDir() && camera.ValidName(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// inUse reports whether a process has the spool open: another controller's agent,
// or one that is just ending. Trying its lock would be in the way of an agent that
// starts just then, so the kernel's list of locks is read. It is searched for the
// inode alone, because on btrfs its device is not the one that stat gives.
func inUse(dir string) bool {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return false
	}
	locks, _ := os.ReadFile("/proc/locks") // without it the spool is reported, and not touched
	inode := fmt.Sprintf(":%d ", st.Ino)
	for line := range strings.Lines(string(locks)) {
		if strings.Contains(line, " FLOCK ") && strings.Contains(line, inode) {
			return true
		}
	}
	return false
}
