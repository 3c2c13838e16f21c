package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"framekeeper/internal/async"
	"framekeeper/internal/configfile"
	"framekeeper/internal/sdnotify"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
)

// finishTime limits how long an orderly end waits until pending requests are
// answered and retained frames are sent.
const finishTime = 4 * time.Second

// joinTime limits how long the parts may take to end after that. A frame's write
// to a slow disk takes its time; longer than this only one that hangs does.
const joinTime = 10 * time.Second

// agent starts and ends the parts that pipeline has constructed. No part has it.
type agent struct {
	cfg   *configfile.Config
	cam   camera.Config
	log   zerolog.Logger
	claim *outbox.Claim
	clock *frame.Clock

	statusChange async.Wake // a status is to be shown now
	ending       chan error // why the agent has to end in order: the camera was given up, or errSpoolUsable; capacity 1

	meters    *meters
	grabber   *camera.Grabber
	responder *responder
	frames    *outbox.Log
	publisher *outbox.Publisher
	writer    *outbox.StreamWriter
	channel   *outbox.ChannelWriter
	spool     *diskSpool
	settings  *liveSettings
	pictures  *pictures
	direct    *direct
	groups    *consumerGroups
	socket    *socket
	presence  *presence
	inquiry   *inquiry
	link      *datatransfer.Link
}

// run starts all parts, waits for the first end or for ctx, finishes what is
// pending, and joins every goroutine but those that a C call or a hung disk holds.
// manager is nil if nobody supervises this process.
func (a *agent) run(ctx context.Context, manager *sdnotify.Sender) error {
	registry, err := newRegistry(a.cam.Name, a.meters, a.statistics())
	if err != nil {
		return err
	}
	a.log.Info().Uint64("epoch", a.claim.Epoch).Str("source", camera.RedactSource(a.cam.Source)).
		Str("redis", a.cfg.Redis.Shown()).Str("delivery", string(a.cfg.Delivery.Mode)).Msg("Agent started")
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	running := &parts{}
	a.start(func(name string, run func(context.Context) error) {
		running.start(name, func() {
			if err := run(work); err != nil {
				stop(fmt.Errorf("%s: %w", name, err))
			}
		})
	}, registry, manager)
	select {
	case <-ctx.Done():
		a.finish(work, true)
		stop(nil)
	case err := <-a.ending:
		a.finish(work, false) // the status stays for a while, and shows why
		stop(err)
	case <-work.Done():
	}
	if hung := running.join(joinTime); len(hung) > 0 {
		return abandonedError(hung, context.Cause(work))
	}
	return a.release(context.Cause(work))
}

// start starts all parts; part runs one in a goroutine of its own.
func (a *agent) start(part func(name string, run func(context.Context) error), registry prometheus.Gatherer, manager *sdnotify.Sender) {
	part("capture", a.capture)
	part("redis", a.link.Run)
	part("responder", a.responder.run)
	part("monitor", (&monitor{
		health: a.grabber.Health, resync: a.clock.Resync, hanging: a.spool.hanging, dir: a.cfg.Delivery.SpoolDir, changed: a.statusChange.Call, log: a.log,
	}).run)
	part("journal", func(ctx context.Context) error { return a.claim.Run(ctx, a.frames) })
	part("claim", func(ctx context.Context) error {
		return completeClaim(ctx, a.claim, a.frames, a.cfg.StateDir, a.cam.Name, a.log)
	})
	what := &served{a.settings, a.pictures, a.direct, registry, a.presence.Status}
	part("socket", func(ctx context.Context) error { return a.socket.run(ctx, what) })
	part("controller's socket", func(ctx context.Context) error { return serveInherited(ctx, a.cfg.Socket, what, a.log) })
	if manager != nil {
		part("heartbeat", newHeartbeat(manager, a.grabber, a.linkState, a.responder, a.log).run)
	}
	if a.spool.spooler != nil {
		part("spool", a.spool.spooler.Run)
	} else if a.spool.refusal != "" {
		part("spool recovery", a.spoolRecovery(manager != nil).run)
	}
}

func (a *agent) linkState() datatransfer.State { return a.link.Status().State }

// spoolRecovery waits for a disk that refused the spool at the start.
func (a *agent) spoolRecovery(supervised bool) *spoolRecovery {
	r := &spoolRecovery{
		refusal: func() string { return spoolRefusal(a.cfg.Delivery.SpoolDir, a.cam.Name) },
		drained: func() bool { return a.linkState() == datatransfer.Live && a.frames.Stats().Unsent == 0 },
		log:     a.log.With().Str("spool_dir", a.cfg.Delivery.SpoolDir).Logger(),
	}
	if supervised {
		r.restart = func() {
			select {
			case a.ending <- errSpoolUsable:
			default: // the agent ends already
			}
		}
	}
	return r
}

// capture runs the camera. A file that has ended leaves an agent that can still
// report it; a camera that has been given up ends it, as soon as what is pending
// has been sent.
func (a *agent) capture(ctx context.Context) error {
	switch err := a.grabber.Run(ctx); {
	case errors.Is(err, camera.ErrEnded):
		a.log.Info().Msg("The source has ended; requests are answered with an error")
	case err != nil:
		a.ending <- &cameraError{err}
	}
	return nil
}

// cameraError marks the end that the camera brought about: the Redis side had
// nothing to do with it, and has finished its work in order. It adds no word:
// what ends a Grabber names the camera itself.
type cameraError struct{ error }

func (e *cameraError) Unwrap() error { return e.error }

// finish takes no new requests and waits until what is pending has reached Redis,
// or cannot reach it in time. The status is withdrawn, or shows for a while what
// ended the agent.
func (a *agent) finish(ctx context.Context, withdraw bool) {
	ctx, cancel := context.WithTimeout(ctx, finishTime)
	defer cancel()
	a.frames.SpoolAll() // first: a slow line may not take in time what a slow card has to have
	a.responder.close(ctx)
	if a.linkState() != datatransfer.Live {
		return
	}
	if err := a.publisher.Flush(ctx); err != nil {
		return
	}
	_ = a.frames.Flush(ctx) // what is left is on disk
	s := a.link.Session()
	if s == nil {
		return
	}
	last := a.presence.withdraw
	if !withdraw {
		last = a.presence.show
	}
	if err := last(ctx, s.Data()); err != nil {
		a.log.Debug().Err(err).Msg("The status could not be deleted from Redis; it expires by itself")
	}
}

// release closes the spool and ends the claim when all parts have ended.
func (a *agent) release(cause error) error {
	_, all := a.frames.Persisted()
	unsent := a.frames.Stats().Unsent
	if a.spool.store != nil {
		if err := a.spool.store.Close(); err != nil {
			a.log.Error().Err(err).Msg("The spool could not be closed; the next start declares what is missing from it")
			all = false
		}
		if all && unsent == 0 {
			a.claim.Spool = "" // nothing waits there, although a disk that became read-only still shows it
		}
	}
	stopped := errors.Is(cause, context.Canceled)
	if stopped || errors.Is(cause, errSpoolUsable) || errors.As(cause, new(*cameraError)) {
		a.claim.Release(a.frames, all)
	}
	if stopped {
		a.log.Info().Int("unsent", unsent).Bool("all_durable", all).Msg("Agent stopped")
		return nil
	}
	return cause
}

var errHung = errors.New("parts of the agent still run")

// abandonedError ends the agent though some of its parts do not: a process that
// waits for a hung disk looks alive and is not. Their frames count as after a
// kill.
func abandonedError(hung []string, cause error) error {
	err := fmt.Errorf("%w %s after the end began: %s; is a disk hanging?", errHung, joinTime, strings.Join(hung, ", "))
	if cause != nil && !errors.Is(cause, context.Canceled) {
		err = fmt.Errorf("%w; %w", cause, err)
	}
	return err
}

// parts are the running goroutines by name, so that an end that waits for one in
// vain can name it. Its zero value is ready.
type parts struct {
	all   sync.WaitGroup
	names sync.Map // of those that run
}

func (p *parts) start(name string, f func()) {
	p.names.Store(name, nil)
	p.all.Go(func() {
		f()
		p.names.Delete(name)
	})
}

// join waits until all parts have ended, or limit is over, and returns those that
// have not.
func (p *parts) join(limit time.Duration) (hung []string) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	_, _ = async.Abandon(ctx, func() (struct{}, error) { p.all.Wait(); return struct{}{}, nil })
	p.names.Range(func(name, _ any) bool {
		hung = append(hung, fmt.Sprint(name))
		return true
	})
	slices.Sort(hung)
	return hung
}
