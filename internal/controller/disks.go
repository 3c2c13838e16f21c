package controller

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/async"
	"framekeeper/internal/configfile"
	"framekeeper/internal/files"
	"framekeeper/internal/metrics"
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
	for i := range cfg.Cameras {
		d.Below = append(d.Below, cfg.Cameras[i].Name)
	}
	return d, min(cfg.Controller.Telemetry.LogInterval, diskInterval)
}

// untilEnd runs what a disk that does not answer may hold up; then it is abandoned
// when ctx has ended.
func untilEnd(ctx context.Context, run func()) {
	limit, cancel := async.Outlast(ctx, time.Second)
	defer cancel()
	_, _ = async.Abandon(limit, func() (struct{}, error) { run(); return struct{}{}, nil })
}

// disks checks whether these can be written. A check may hang with its disk, which
// is then the result.
type disks struct {
	where    func(setting string) (files.Directory, time.Duration)
	check    func(files.Directory) (reason string, code files.Code)
	patience time.Duration // until a check counts as hanging
	log      func() *zerolog.Logger

	mu      sync.Mutex // guards results
	results map[string]diskResult
}

// diskResult is of the last check of one directory.
type diskResult struct {
	files.Unwritable           // its code is "" if it can be written
	since            time.Time // of the first reason in a row
}

func newDisks(where func(string) (files.Directory, time.Duration), log func() *zerolog.Logger) *disks {
	return &disks{where: where, check: files.WhyUnwritable, patience: diskPatience, log: log, results: map[string]diskResult{}}
}

// unwritable are those that cannot be written.
func (d *disks) unwritable() (all []files.Unwritable) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, setting := range diskSettings() {
		if r := d.results[setting]; r.Code != "" {
			all = append(all, r.Unwritable)
		}
	}
	return all
}

// read gives the figures of one scrape.
func (d *disks) read(v metrics.Values) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for setting, r := range d.results {
		v.Flag("directory_writable", r.Code == "", setting)
	}
}

// run checks until ctx ends.
func (d *disks) run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, setting := range diskSettings() {
		wg.Go(func() { untilEnd(ctx, func() { d.checkAgain(ctx, setting) }) })
	}
	wg.Wait()
	return nil
}

func (d *disks) checkAgain(ctx context.Context, setting string) {
	for ctx.Err() == nil {
		dir, interval := d.where(setting)
		late := time.AfterFunc(d.patience, func() { d.note(setting, dir.Dir, "the disk does not answer", files.Hangs) })
		reason, code := d.check(dir)
		late.Stop()
		d.note(setting, dir.Dir, reason, code)
		async.Pause(ctx, interval)
	}
}

// note takes a result, and logs what is new.
func (d *disks) note(setting, dir, reason string, code files.Code) {
	now := diskResult{files.Unwritable{Settings: []string{setting}, Dir: dir, Reason: reason, Code: code}, time.Now()}
	d.mu.Lock()
	before := d.results[setting]
	if before.Code != "" {
		now.since = before.since
	}
	d.results[setting] = now
	d.mu.Unlock()
	switch {
	case before.Reason == reason:
	case code == "":
		d.log().Info().Str("setting", setting).Str("dir", dir).Int64("lasted_ms", time.Since(before.since).Milliseconds()).
			Msg("The directory can be written again")
	default:
		d.log().Error().Str("setting", setting).Str("dir", dir).Str("reason", reason).Str("advice", now.Advice()).
			Msg("A directory cannot be written: nothing can be saved there for an outage or a restart")
	}
}
