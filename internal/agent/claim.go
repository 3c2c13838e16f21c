package agent

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/async"
	"framekeeper/internal/files"
	"framekeeper/pkg/outbox"
)

const (
	// retryMin and retryMax bound the pause before something that needs the disk
	// is tried again: soon there when the disk is, and no burden until then.
	retryMin = 250 * time.Millisecond
	retryMax = 2 * time.Second
)

// retry calls try until it returns nil, which it reports, or ctx ends. failed gets
// each error that differs from the one before.
func retry(ctx context.Context, try func() error, failed func(error)) bool {
	last := ""
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		err := try()
		if err == nil {
			return true
		}
		if err.Error() != last {
			last = err.Error()
			failed(err)
		}
		if !async.Pause(ctx, wait) {
			return false
		}
	}
}

// completeClaim makes up for a claim to the camera that a full or read-only disk
// left incomplete at the start.
func completeClaim(ctx context.Context, claim *outbox.Claim, frames *outbox.Log, stateDir, camera string, log zerolog.Logger) error {
	if claim.EpochSaved {
		return nil
	}
	dir := files.Directory{Dir: stateDir, Below: []string{camera}}
	complete := retry(ctx, func() error {
		if reason, _ := files.WhyUnwritable(dir); reason != "" { // trying would write, for as long as it lasts
			return errors.New(reason)
		}
		return claim.Complete(frames)
	}, func(err error) {
		if errors.Is(err, outbox.ErrClaimed) { // it began when this one had no lock to refuse it with
			log.Error().Err(err).Msg("Two agents serve this camera: stop one of them")
		}
	})
	if complete {
		log.Info().Msg("The state_dir can be written now: the camera is locked and its epoch is saved")
	}
	return nil
}
