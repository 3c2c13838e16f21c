package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"framekeeper/internal/sdnotify"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/spool"
)

// openSpool opens the camera's spool and takes over what an earlier start left
// there. A disk that cannot be used is warned of, not fatal.
func (a *agent) openSpool() error {
	d := a.cfg.Delivery
	dir := a.spoolPlace()
	s, losses, err := spool.Open(spool.Config{
		Dir: dir, MaxBytes: int64(d.SpoolMaxBytes), MaxAge: d.SpoolMaxAge, Log: a.log,
	})
	if errors.Is(err, spool.ErrInUse) {
		return fmt.Errorf("open spool: %w: %w", outbox.ErrClaimed, err)
	}
	if err != nil {
		a.refused = a.spoolRefused()
		a.log.Error().Err(err).Str("dir", dir).
			Msg("the spool cannot be used: frames that Redis does not take are kept in memory only")
		if a.owner.Spool != "" {
			a.nobodyKnows()
		}
		return nil
	}
	if err := a.owner.SetSpool(dir); err != nil {
		a.log.Warn().Err(err).Msg("a start with another spool_dir will not find the frames kept in this one")
	}
	a.spool = s
	a.spooler = outbox.NewSpooler(a.outbox, s, losses, d.Sync == outbox.SyncAlways, a.log)
	if epoch := a.outbox.Epoch(); epoch != a.owner.Epoch {
		if err := a.owner.SetEpoch(epoch); err != nil {
			return err
		}
	}
	if last, _ := a.outbox.Persisted(); a.owner.Previous.Less(last) {
		a.owner.Previous = last
	}
	return nil
}

// spoolPatience is how long looking at another place than the configured one may
// take. Its disk may be the reason why it is not configured any more; or it is
// only asleep, and takes a while to turn.
const spoolPatience = 10 * time.Second

// patience is spoolPatience, but less than the first sign of life is waited for.
func patience() time.Duration {
	if limit := sdnotify.FromEnv(os.Getenv).Watchdog(); limit > 0 {
		return min(limit, spoolPatience)
	}
	return spoolPatience
}

// spoolPlace is the directory to keep frames in. Where spool_dir has changed,
// frames may wait in the one before, and Redis takes IDs in their order only: so
// they move along, which costs nothing on the same disk, or are sent from there
// first. The place changes at a start after that.
func (a *agent) spoolPlace() string {
	place := filepath.Join(a.cfg.Delivery.SpoolDir, a.cam.Name)
	if whole, err := filepath.Abs(place); err == nil {
		place = whole
	}
	before := a.owner.Spool
	if before == "" || before == place {
		return place
	}
	log := a.log.With().Str("before", before).Str("now", place).Logger()
	moved, err := moveSpool(before, place)
	switch {
	case moved:
		log.Info().AnErr("not_synced", err).Msg("spool_dir has changed, the frames that wait have moved there")
	case err == nil, errors.Is(err, spool.ErrInUse): // nothing waits there, or not for us
	case errors.Is(err, spool.ErrCannotMove):
		log.Warn().Err(err).Msg("spool_dir has changed, but frames wait where it was: they go first, and new ones join them there, until a start finds that place empty")
		return before
	default:
		a.nobodyKnows()
		log.Error().Err(err).Msg("spool_dir has changed, and where it was cannot be read: frames that wait there are given up")
	}
	return place
}

// nobodyKnows is said of a spool that may have frames and cannot be read: readers
// are told that everything since the last entry in the stream is unknown.
func (a *agent) nobodyKnows() { a.owner.Clean, a.owner.Previous = false, frame.ID{} }

// moveSpool is spool.Move, but it does not wait for a disk that hangs.
func moveSpool(from, to string) (moved bool, err error) {
	limit := patience()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	type result struct {
		moved bool
		err   error
	}
	done := make(chan result, 1)
	go func() { // one that hangs is left behind
		moved, err := spool.Move(ctx, from, to)
		done <- result{moved, err}
	}()
	select {
	case r := <-done:
		return r.moved, r.err
	case <-ctx.Done():
		return false, fmt.Errorf("look into %s: not done within %s, is its disk hanging?", from, limit)
	}
}
