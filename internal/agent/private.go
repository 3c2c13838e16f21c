package agent

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"framekeeper/internal/agentapi"
	"framekeeper/internal/files"
	"framekeeper/internal/metrics"
	"framekeeper/pkg/outbox"
)

const (
	// againMin and againMax bound the pause before something of the disk's is
	// tried again: soon there when the disk is, and no burden until then.
	againMin = 250 * time.Millisecond
	againMax = 2 * time.Second
)

// again calls try until it returns nil, which it reports, or ctx ends. Each
// reason why it does not is given to failed once.
func again(ctx context.Context, try func() error, failed func(error)) bool {
	told := ""
	for pause := againMin; ; pause = min(2*pause, againMax) {
		err := try()
		if err == nil {
			return true
		}
		if err.Error() != told {
			told = err.Error()
			failed(err)
		}
		if !wait(ctx, pause) {
			return false
		}
	}
}

// wait is false when ctx ends first.
func wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// hold makes up for a claim to the camera that a full or read-only disk left
// incomplete at the start.
func (a *agent) hold(ctx context.Context) error {
	if a.owner.EpochSaved {
		return nil
	}
	place := files.Directory{Dir: a.cfg.StateDir, Below: []string{a.cam.Name}}
	held := again(ctx, func() error {
		if reason := files.WhyUnwritable(place); reason != "" { // trying would write, for as long as it lasts
			return errors.New(reason)
		}
		return a.owner.Complete()
	}, func(err error) {
		if errors.Is(err, outbox.ErrClaimed) { // it began when this one had no lock to refuse it with
			a.log.Error().Err(err).Msg("two agents serve this camera: stop one of them")
		}
	})
	if held {
		a.log.Info().Msg("state_dir can be written now: the camera is locked and its epoch saved")
	}
	return nil
}

// socket is why there is none for the controller; "" if there is one.
type socket struct{ missing atomic.Pointer[string] }

func (s *socket) why() string {
	if why := s.missing.Load(); why != nil {
		return *why
	}
	return ""
}

// errUnlocked keeps an agent from making its socket: one that is there may be
// another agent's.
var errUnlocked = errors.New("no lock in state_dir, which cannot be written, or is another agent's")

// private serves the agent's socket. Frames do not need it: what keeps it from
// being there is told, and it is tried again until it is.
func (a *agent) private(ctx context.Context) error {
	figures, err := a.registry()
	if err != nil {
		return err
	}
	path := agentapi.Path(a.cfg.StateDir, a.cam.Name)
	for {
		s := a.listen(ctx, path)
		if s == nil {
			return nil
		}
		s.HandleSettings(a.tuning.settings, a.tuning.set)
		s.Handle("GET /metrics", metrics.Handler(figures).ServeHTTP)
		if err := s.Run(ctx); err != nil {
			a.log.Warn().Err(err).Msg("the socket for the controller is lost, making it again")
		}
		if !wait(ctx, againMax) {
			return nil
		}
	}
}

// listen makes the socket, as soon as it can be made; nil when ctx ends first.
func (a *agent) listen(ctx context.Context, path string) (s *agentapi.Server) {
	open := func() (err error) {
		if !a.owner.Locked() {
			return errUnlocked
		}
		s, err = agentapi.Listen(ctx, path, a.log)
		return err
	}
	began := time.Now()
	missing := func(err error) {
		why := err.Error()
		a.socket.missing.Store(&why)
		a.log.Warn().Err(err).Msg("no socket for the controller: no metrics, and settings cannot be changed; trying until it is there")
		a.wantStatus()
	}
	if !again(ctx, open, missing) {
		return nil
	}
	if a.socket.missing.Swap(nil) != nil {
		a.log.Info().Int64("lasted_ms", time.Since(began).Milliseconds()).Msg("the socket for the controller is there")
		a.wantStatus()
	}
	return s
}
