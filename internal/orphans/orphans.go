// Package orphans finds orphaned spools: frames on disk of a camera which the
// configuration does not name any more. Nobody sends them, bounds them or lets
// them expire; all that can be done is to report them.
//
// It promises to change nothing on disk, not even a lock, to report only what is
// named like a camera, and that a disk that does not answer holds up nobody but
// the search. The controller is its only caller.
package orphans

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/async"
	"framekeeper/internal/status"
)

// Dirs are what the configuration names.
type Dirs struct {
	State, Spool string
	Cameras      []string
}

const (
	// rarely is how often a search finds what somebody has changed by other means
	// than a reload.
	rarely = time.Hour
	// soon is the same as long as there is something that somebody may remove, or
	// that is just being used.
	soon = 5 * time.Minute
	// endPatience is how long the end of Run waits for a disk.
	endPatience = time.Second
)

// Watcher searches for orphaned spools at its start, whenever it is asked to, and
// rarely otherwise. Run may be called once, all else from any goroutine.
type Watcher struct {
	dirs   func() Dirs
	log    func() *zerolog.Logger
	wake   async.Wake
	logged map[string]bool // by directory; only Run's goroutine uses it

	mu       sync.Mutex // guards all below
	searched bool
	found    []status.OrphanedSpool // never changed in place
}

// NewWatcher prepares a watcher of the directories that are configured whenever
// it searches.
func NewWatcher(dirs func() Dirs, log func() *zerolog.Logger) *Watcher {
	return &Watcher{dirs: dirs, log: log, wake: async.NewWake(), logged: map[string]bool{}}
}

// Search has a search begin now: cameras or directories have changed.
func (w *Watcher) Search() { w.wake.Call() }

// Found is what the last search found; searched is false before the first.
func (w *Watcher) Found() (found []status.OrphanedSpool, searched bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.found, w.searched
}

// Run searches until ctx ends. It deletes nothing: the frames were promised to
// somebody.
func (w *Watcher) Run(ctx context.Context) error {
	for {
		timer := time.NewTimer(w.search(ctx))
		select {
		case <-timer.C:
		case <-w.wake:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// search searches once, logs what is new, and returns when to search again.
func (w *Watcher) search(ctx context.Context) time.Duration {
	dirs, inUse := w.dirs(), false
	limit, cancel := async.Outlast(ctx, endPatience)
	defer cancel()
	found, err := async.Abandon(limit, func() (found []status.OrphanedSpool, err error) {
		found, inUse, err = find(ctx, dirs)
		return found, err
	})
	if ctx.Err() != nil {
		return 0 // the search was interrupted, and may have missed some
	}
	if err != nil {
		w.log().Debug().Err(err).Msg("The search for orphaned spools is incomplete")
	}
	w.mu.Lock()
	w.searched, w.found = true, found
	w.mu.Unlock()
	for _, s := range found {
		if !w.logged[s.Dir] {
			w.log().Warn().Str("camera", s.Camera).Str("dir", s.Dir).Int("frames", s.Frames).Int64("bytes", s.Bytes).Str("advice", s.Item().Advice).
				Msg("Orphaned spool: frames wait on disk for a camera that is not configured")
		}
		w.logged[s.Dir] = true
	}
	if inUse || len(found) > 0 {
		return soon
	}
	return rarely
}
