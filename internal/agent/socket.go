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

// socket serves pictures, requests, live settings and metrics to the controller. Frames do not need
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

// served is what the socket is for.
type served struct {
	settings agentapi.LiveSettings
	pictures agentapi.Pictures
	requests agentapi.Requests
	registry prometheus.Gatherer
	status   func() any
}

func (s *served) handle(server *agentapi.Server) {
	server.HandleSettings(s.settings)
	server.HandlePictures(s.pictures)
	server.HandleRequests(s.requests)
	server.HandleStatus(s.status)
	server.Handle("GET /metrics", metrics.Handler(s.registry).ServeHTTP)
}

// serveInherited serves on the socket that the controller has handed over, if it has,
// until ctx ends.
func serveInherited(ctx context.Context, value string, what *served, log zerolog.Logger) error {
	if value == "" {
		return nil
	}
	server, err := agentapi.Inherit(value, log)
	if err == nil {
		what.handle(server)
		err = server.Run(ctx)
	}
	if err != nil { // there is the other one
		log.Warn().Err(err).Msg("The controller's socket cannot be served")
	}
	return nil
}

// run serves until ctx ends.
func (s *socket) run(ctx context.Context, what *served) error {
	for {
		server := s.listen(ctx)
		if server == nil {
			return nil
		}
		what.handle(server)
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
