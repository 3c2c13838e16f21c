package agent

import (
	"context"
	"errors"
	"os"

	"framekeeper/internal/files"
	"framekeeper/internal/sdnotify"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/spool"
)

// errSpoolBack ends an agent that works, for a fresh one that has its spool.
var errSpoolBack = errors.New("the spool can be used now: starting again with it")

// spoolRefused is why nothing can be kept in spool_dir; "" if it could be.
func (a *agent) spoolRefused() string {
	return files.WhyUnwritable(files.Directory{Dir: a.cfg.Delivery.SpoolDir, Below: []string{a.cam.Name}, Reserve: spool.Reserve})
}

// regainSpool makes up for a disk that refused the spool at the start. What an
// earlier start left there has to go out before anything newer, which only a
// start can see to: so this agent makes room for another, if somebody will start
// it, as soon as it can lose nothing by that.
func (a *agent) regainSpool(ctx context.Context) error {
	if a.refused == "" {
		return nil // nobody knows what has to change, and the next start would end up here
	}
	look := func() error {
		if reason := a.spoolRefused(); reason != "" {
			return errors.New(reason)
		}
		return nil
	}
	if !again(ctx, look, func(error) {}) {
		return nil
	}
	log := a.log.With().Str("spool_dir", a.cfg.Delivery.SpoolDir).Logger()
	if sdnotify.FromEnv(os.Getenv) == nil {
		log.Warn().Msg("the spool can be used now: start the agent again to have it")
		return nil
	}
	for a.link.Status().State != datatransfer.Live || a.outbox.Stats().Unsent > 0 {
		if !wait(ctx, againMin) {
			return nil
		}
	}
	log.Info().Msg("the spool can be used now: starting again with it")
	select {
	case a.lost <- errSpoolBack:
	default: // the camera's end comes first
	}
	return nil
}
