package controller

import (
	"context"
	"sync"
	"time"

	"framekeeper/internal/files"
	"framekeeper/internal/metrics"
	"framekeeper/pkg/spool"
)

const (
	// lookAtDisk is how often it is looked whether a disk could be written, at least.
	lookAtDisk = 5 * time.Second
	// diskPatience is more than a slow disk takes to tell.
	diskPatience = 5 * time.Second
)

// diskSettings name the directories that the box keeps things in.
func diskSettings() []string { return []string{"state_dir", "spool_dir"} }

// disks knows which of these cannot be written. Looking may hang with a disk;
// nobody waits for it, and that it hangs is then what is known.
type disks struct {
	look     func(files.Directory) string
	patience time.Duration // until it counts as hanging

	mu   sync.Mutex // guards all below
	seen map[string]diskSight
}

// diskSight is what was last seen of one directory.
type diskSight struct {
	dir    string
	reason string // why it cannot be written; "" if it can be
	since  time.Time
}

// list are those that cannot be written.
func (d *disks) list() []files.Unwritable {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []files.Unwritable
	for _, setting := range diskSettings() {
		if s := d.seen[setting]; s.reason != "" {
			all = append(all, files.Unwritable{Settings: []string{setting}, Dir: s.dir, Reason: s.reason})
		}
	}
	return files.Merged(all)
}

// read gives the figures of one scrape.
func (d *disks) read(v metrics.Values) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for setting, s := range d.seen {
		v.Flag("directory_writable", s.reason == "", setting)
	}
}

// note takes in what was seen, and returns what was before.
func (d *disks) note(setting string, now diskSight) (before diskSight) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before = d.seen[setting]
	if before.reason != "" {
		now.since = before.since
	}
	d.seen[setting] = now
	return before
}

// watchDisks looks all the time whether what has to be kept could be.
func (b *box) watchDisks(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, setting := range diskSettings() {
		wg.Go(func() {
			for ctx.Err() == nil {
				b.watchDisk(ctx, setting)
			}
		})
	}
	wg.Wait()
	return nil
}

// watchDisk looks once, and waits until it is time to look again.
func (b *box) watchDisk(ctx context.Context, setting string) {
	place, interval := b.diskPlace(setting)
	done := make(chan string, 1)
	go func() { done <- b.disks.look(place) }() // one that hangs is left behind at the end
	next := time.NewTimer(b.disks.patience)
	defer next.Stop()
	for answers := done; ; {
		select {
		case reason := <-answers:
			b.tellDisk(setting, place.Dir, reason)
			answers = nil
			next.Reset(interval)
		case <-next.C:
			if answers == nil {
				return
			}
			b.tellDisk(setting, place.Dir, files.Hangs)
		case <-ctx.Done():
			return
		}
	}
}

// tellDisk logs what is new.
func (b *box) tellDisk(setting, dir, reason string) {
	now := diskSight{dir: dir, reason: reason, since: time.Now()}
	before := b.disks.note(setting, now)
	switch {
	case before.reason == reason:
	case reason == "":
		b.logger().Info().Str("setting", setting).Str("dir", dir).Int64("lasted_ms", time.Since(before.since).Milliseconds()).
			Msg("the directory can be written again")
	default:
		t := files.Unwritable{Reason: reason}
		b.logger().Error().Str("setting", setting).Str("dir", dir).Str("reason", reason).Str("advice", t.Advice()).
			Msg("a directory cannot be written: nothing can be kept there for an outage or a restart")
	}
}

// diskPlace is where to look and how often, as it is configured now.
func (b *box) diskPlace(setting string) (files.Directory, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := files.Directory{Dir: b.cfg.StateDir, Lock: b.lock}
	if setting == "spool_dir" {
		p = files.Directory{Dir: b.cfg.Delivery.SpoolDir, Reserve: spool.Reserve}
	}
	for i := range b.cfg.Cameras {
		p.Below = append(p.Below, b.cfg.Cameras[i].Name)
	}
	return p, min(b.cfg.Controller.LogInterval, lookAtDisk)
}
