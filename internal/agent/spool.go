package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/async"
	"framekeeper/internal/files"
	"framekeeper/internal/sdnotify"
	"framekeeper/internal/status"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/spool"
)

// diskSpool is the camera's spool and what writes it, if the disk can be used.
type diskSpool struct {
	store   *spool.Spool    // nil: the disk cannot be used
	spooler *outbox.Spooler // nil with store
	refusal string          // why the disk did not take the spool; "": it did, or the reason is another one
}

// hangTime is more than a slow disk takes for anything.
const hangTime = 5 * time.Second

// hanging is for how long the disk has not answered; 0 if it does, or takes no
// longer than a slow one.
func (d *diskSpool) hanging() time.Duration {
	if d.spooler == nil {
		return 0
	}
	if since := d.spooler.Hanging(); since > hangTime {
		return since
	}
	return 0
}

// status is what waits on disk; nil if the disk cannot be used.
func (d *diskSpool) status() *status.Spool {
	if d.store == nil {
		return nil
	}
	s := &status.Spool{Stats: d.store.Stats(), HangingS: d.hanging().Seconds()}
	if !s.OldestAt.IsZero() {
		s.AgeS = max(time.Since(s.OldestAt).Seconds(), 0) // OldestAt is rounded
	}
	return s
}

// spoolRefusal is why spool_dir cannot be written; "" if it can be.
func spoolRefusal(dir, camera string) string {
	reason, _ := files.WhyUnwritable(files.Directory{Dir: dir, Below: []string{camera}, Reserve: spool.Reserve})
	return reason
}

// openSpool opens the camera's spool and takes over what an earlier start left
// there. A disk that cannot be used is logged, not fatal.
func openSpool(d outbox.Delivery, camera string, claim *outbox.Claim, frames *outbox.Log, log zerolog.Logger) (*diskSpool, error) {
	dir, lost := spoolDir(filepath.Join(d.SpoolDir, camera), claim, log)
	if lost {
		frames.WithoutSpool()
	}
	s, losses, err := spool.Open(spool.Config{Dir: dir, MaxBytes: int64(d.SpoolMaxBytes), MaxAge: d.SpoolMaxAge, Log: log})
	if errors.Is(err, spool.ErrInUse) {
		return nil, fmt.Errorf("open spool: %w: %w", outbox.ErrClaimed, err)
	}
	if err != nil {
		refusal := spoolRefusal(d.SpoolDir, camera) // before the log line: whoever reads that may mend the disk at once
		log.Error().Err(err).Str("dir", dir).
			Msg("The spool cannot be used: frames that Redis does not take stay in memory only")
		if claim.MayHaveSpool() {
			frames.WithoutSpool()
		}
		return &diskSpool{refusal: refusal}, nil
	}
	if err := claim.SetSpool(dir); err != nil {
		log.Warn().Err(err).Msg("The spool's directory cannot be saved: after a change of spool_dir the frames in the old one will not be found")
	}
	return &diskSpool{store: s, spooler: outbox.NewSpooler(frames, s, losses, log)}, nil
}

// moveTime limits the move from another directory than the configured one. Its disk may be the reason why it is not configured any more; or it is
// only asleep, and takes a while to turn.
const moveTime = 10 * time.Second

// moveLimit is moveTime, but less than the manager waits for the first heartbeat.
func moveLimit() time.Duration {
	if limit := sdnotify.FromEnv(os.Getenv).Watchdog(); limit > 0 {
		return min(limit, moveTime)
	}
	return moveTime
}

// spoolDir is the directory for the spool. Where spool_dir has changed, frames may
// wait in the one before, and Redis takes IDs in their order only: so they move to
// the configured one, which costs nothing on the same disk, or are sent from there
// first. The directory changes at a start after that. lost: the one before cannot be
// read, and readers learn that what it had is unknown.
func spoolDir(configured string, claim *outbox.Claim, log zerolog.Logger) (dir string, lost bool) {
	if absolute, err := filepath.Abs(configured); err == nil {
		configured = absolute
	}
	before := claim.Spool
	if before == "" || before == configured {
		return configured, false
	}
	log = log.With().Str("before", before).Str("now", configured).Logger()
	moved, err := moveSpool(before, configured)
	switch {
	case moved:
		log.Info().AnErr("not_synced", err).Msg("The spool_dir has changed; the unsent frames were moved to the new one")
	case err == nil, errors.Is(err, spool.ErrInUse): // nothing waits there, or not for us
	case errors.Is(err, spool.ErrCannotMove):
		log.Warn().Err(err).Msg("The spool_dir has changed, but the old one has unsent frames: it is used until a start finds it empty")
		return before, false
	default:
		lost = true
		log.Error().Err(err).Msg("The spool_dir has changed, and the old one cannot be read: its unsent frames are given up")
	}
	return configured, lost
}

// moveSpool is spool.Move, abandoned if the disk hangs.
func moveSpool(from, to string) (moved bool, err error) {
	limit := moveLimit()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	moved, err = async.Abandon(ctx, func() (bool, error) { return spool.Move(ctx, from, to) })
	if errors.Is(err, async.ErrAbandoned) {
		err = fmt.Errorf("read %s: not done within %s, is its disk hanging?", from, limit)
	}
	return moved, err
}

// errSpoolUsable ends an agent that works, for a new process that has its spool.
var errSpoolUsable = errors.New("the spool can be used now: restarting with it")

// spoolRecovery makes up for a disk that refused the spool at the start. What an
// earlier start left there has to go out before anything newer, which only a start
// can ensure: so the agent ends for another, if somebody will start that, as soon
// as nothing is lost by it.
type spoolRecovery struct {
	refusal func() string // why the disk does not take the spool; "": it would
	drained func() bool   // the link is LIVE and nothing is unsent
	restart func()        // nil: nobody would start the agent again
	log     zerolog.Logger
}

func (r *spoolRecovery) run(ctx context.Context) error {
	try := func() error {
		if reason := r.refusal(); reason != "" {
			return errors.New(reason)
		}
		return nil
	}
	if !retry(ctx, try, func(error) {}) {
		return nil
	}
	if r.restart == nil {
		r.log.Warn().Msg("The spool can be used now: restart the agent to use it")
		return nil
	}
	for !r.drained() {
		if !async.Pause(ctx, retryMin) {
			return nil
		}
	}
	r.log.Info().Msg("The spool can be used now: restarting the agent with it")
	r.restart()
	return nil
}
