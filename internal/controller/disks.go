package controller

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/configfile"
	"framekeeper/internal/files"
	"framekeeper/internal/metrics"
	"framekeeper/internal/orphans"
	"framekeeper/pkg/spool"
)

const (
	// diskInterval is how often a disk is checked, at least.
	diskInterval = 5 * time.Second
	// diskPatience is more than a slow disk takes for an answer.
	diskPatience = 5 * time.Second
)

// diskSettings name the directories that the box saves something in.
func diskSettings() []string { return []string{"state_dir", "spool_dir"} }

// diskOf is a setting's directory as it is configured, and how often to check it.
func diskOf(cfg *configfile.Config, lock *os.File, setting string) (files.Directory, time.Duration) {
	d := files.Directory{Dir: cfg.StateDir, Lock: lock}
	if setting == "spool_dir" {
		d = files.Directory{Dir: cfg.Delivery.SpoolDir, Reserve: spool.Reserve}
	}
	d.Below = spoolDirs(cfg).Cameras
	return d, min(cfg.Controller.Telemetry.LogInterval, diskInterval)
}

// spoolDirs are where spools may lie, and whose.
func spoolDirs(cfg *configfile.Config) orphans.Dirs {
	d := orphans.Dirs{State: cfg.StateDir, Spool: cfg.Delivery.SpoolDir}
	for i := range cfg.Cameras {
		d.Cameras = append(d.Cameras, cfg.Cameras[i].Name)
	}
	return d
}

// disks checks whether these can be written. A check may hang with its disk;
// nobody waits for it, and that it hangs is then the result.
type disks struct {
	where    func(setting string) (files.Directory, time.Duration)
	check    func(files.Directory) string
	patience time.Duration // until a check counts as hanging
	log      func() *zerolog.Logger

	mu      sync.Mutex // guards results
	results map[string]diskResult
}

// diskResult is of the last check of one directory.
type diskResult struct {
	dir    string
	reason string    // why it cannot be written; "" if it can be
	since  time.Time // of the first reason in a row
}

func newDisks(where func(string) (files.Directory, time.Duration), log func() *zerolog.Logger) *disks {
	return &disks{where: where, check: files.WhyUnwritable, patience: diskPatience, log: log, results: map[string]diskResult{}}
}

// unwritable are those that cannot be written.
func (d *disks) unwritable() []files.Unwritable {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []files.Unwritable
	for _, setting := range diskSettings() {
		if r := d.results[setting]; r.reason != "" {
			all = append(all, files.Unwritable{Settings: []string{setting}, Dir: r.dir, Reason: r.reason})
		}
	}
	return files.Merged(all)
}

// read gives the figures of one scrape.
func (d *disks) read(v metrics.Values) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for setting, r := range d.results {
		v.Flag("directory_writable", r.reason == "", setting)
	}
}

// run checks until ctx ends.
func (d *disks) run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, setting := range diskSettings() {
		wg.Go(func() {
			for ctx.Err() == nil {
				d.checkOnce(ctx, setting)
			}
		})
	}
	wg.Wait()
	return nil
}

// checkOnce checks one, and waits until it is time for the next check.
func (d *disks) checkOnce(ctx context.Context, setting string) {
	dir, interval := d.where(setting)
	answer := make(chan string, 1)
	go func() { answer <- d.check(dir) }() // abandoned at the end if it hangs
	next := time.NewTimer(d.patience)
	defer next.Stop()
	for waiting := true; ; {
		select {
		case reason := <-answer:
			d.note(setting, dir.Dir, reason)
			waiting = false
			next.Reset(interval)
		case <-next.C:
			if !waiting {
				return
			}
			d.note(setting, dir.Dir, files.Hangs)
		case <-ctx.Done():
			return
		}
	}
}

// note takes a result, and logs what is new.
func (d *disks) note(setting, dir, reason string) {
	now := diskResult{dir: dir, reason: reason, since: time.Now()}
	d.mu.Lock()
	before := d.results[setting]
	if before.reason != "" {
		now.since = before.since
	}
	d.results[setting] = now
	d.mu.Unlock()
	switch {
	case before.reason == reason:
	case reason == "":
		d.log().Info().Str("setting", setting).Str("dir", dir).Int64("lasted_ms", time.Since(before.since).Milliseconds()).
			Msg("The directory can be written again")
	default:
		t := files.Unwritable{Reason: reason}
		d.log().Error().Str("setting", setting).Str("dir", dir).Str("reason", reason).Str("advice", t.Advice()).
			Msg("A directory cannot be written: nothing can be saved there for an outage or a restart")
	}
}
