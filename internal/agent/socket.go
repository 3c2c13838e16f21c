package agent

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"framekeeper/internal/agentapi"
	"framekeeper/internal/async"
	"framekeeper/internal/metrics"
)

// socket serves live settings and metrics to the controller. Frames do not need
// it: why it is missing is logged and shown, and it is tried again until it is
// there.
type socket struct {
	path     string
	lockHeld func() bool // the camera's lock in state_dir is ours
	changed  func()      // is called when missing has changed
	log      zerolog.Logger

	missing atomic.Pointer[string]
}

// why is the reason for which there is no socket; "" if there is one.
func (s *socket) why() string {
	if why := s.missing.Load(); why != nil {
		return *why
	}
	return ""
}

// errUnlocked prevents an agent from making its socket: one that is there may be
// another agent's.
var errUnlocked = errors.New("no lock in state_dir, which cannot be written, or is another agent's")

// run serves until ctx ends.
func (s *socket) run(ctx context.Context, settings agentapi.LiveSettings, registry prometheus.Gatherer) error {
	for {
		server := s.listen(ctx)
		if server == nil {
			return nil
		}
		server.HandleSettings(settings)
		server.Handle("GET /metrics", metrics.Handler(registry).ServeHTTP)
		if err := server.Run(ctx); err != nil {
			s.log.Warn().Err(err).Msg("The agent's socket failed; it is opened again")
		}
		if !async.Pause(ctx, retryMax) {
			return nil
		}
	}
}

// listen makes the socket, as soon as it can be made; nil when ctx ends first.
func (s *socket) listen(ctx context.Context) (server *agentapi.Server) {
	began := time.Now()
	try := func() (err error) {
		if !s.lockHeld() {
			return errUnlocked
		}
		server, err = agentapi.Listen(ctx, s.path, s.log)
		return err
	}
	failed := func(err error) {
		why := err.Error()
		s.missing.Store(&why)
		s.log.Warn().Err(err).Msg("The agent's socket cannot be opened: no metrics, and settings cannot be changed; it is tried again")
		s.changed()
	}
	if !retry(ctx, try, failed) {
		return nil
	}
	if s.missing.Swap(nil) != nil {
		s.log.Info().Int64("lasted_ms", time.Since(began).Milliseconds()).Msg("The agent's socket is open")
		s.changed()
	}
	return server
}
