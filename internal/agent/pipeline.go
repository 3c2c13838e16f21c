package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/configfile"
	"framekeeper/internal/sdnotify"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/spool"
)

// finishTime is how long an orderly end may take to answer what was asked and
// to hand over what is held.
const finishTime = 4 * time.Second

// joinTime is how long the parts may take to end after that. A frame's write to
// a slow disk takes its time; longer than this only one that hangs does.
const joinTime = 10 * time.Second

// pipeline is the way of a frame, from the camera to Redis:
//
//	camera ──► Source.Next ──► Grabber (always draining, newest wins, stall watchdog)
//	                              │ a request waits, or publish_fps says so
//	                              ▼
//	request ──► Requests ──► responder ──► Encoder
//	   ▲                          │ the next ID
//	   │                          ▼
//	   │                       Outbox ──────────────► Appender ──► XADD frames:<camera>
//	   │                          │ item  ◄─► Spooler   ▲ after its answer      (pubsub: Broadcaster)
//	   │                          ▼                     │
//	   │                       Publisher ───────────────┴────────► PUBLISH stream/<camera>
//	   │
//	   └── Link: one session after the other; its workers are Appender, Publisher, Presence
//
// Capture never waits for Redis: whatever leaves the responder is held by the
// Outbox and the Publisher until a session takes it.
func pipeline(ctx context.Context, cfg *configfile.Config, cam camera.Config, d driver, log zerolog.Logger) error {
	owner, err := outbox.TakeClaim(cfg.StateDir, cam.Name, time.Now(), log)
	if err != nil {
		return fmt.Errorf("claim camera %s: %w", cam.Name, err)
	}
	retain := int64(cfg.Delivery.RetainBytes)
	a := &agent{
		cfg: cfg, cam: cam, log: log, owner: owner, clock: frame.NewClock(), began: time.Now(),
		kick: make(chan struct{}, 1), lost: make(chan error, 1),
	}
	a.tuning = &tuning{a: a, cam: cam}
	a.meters = newMeters(func() datatransfer.LinkStatus { return a.link.Status() })
	a.grabber = camera.NewGrabber(cam, d.open, log)
	a.outbox = outbox.NewLog(owner.Epoch, retain, log)
	a.publisher = outbox.NewPublisher(cam.StreamTopic, a.outbox, retain, log)
	a.publisher.Observe(a.answered)
	a.appender = outbox.NewStreamWriter(outbox.StreamWriterConfig{
		Key: cam.FramesKey, Camera: cam.Name, MaxBytes: int64(cfg.Delivery.StreamMaxBytes), Clock: a.clock, Log: log,
	}, a.outbox)
	a.groups = &groups{key: cam.FramesKey, interval: cam.StatusInterval}
	a.responder = newResponder(a, camera.NewEncoder(cam, d.jpeg))
	a.presence = NewPresence(PresenceConfig{
		Key: cam.StatusKey(), Topic: cam.StatusTopic(), Interval: cam.StatusInterval,
		Instance: owner.Instance, Owner: owner.StateID,
		Status: func() any { return a.status() }, Kick: a.kick, Log: log,
	})
	if err := a.openSpool(); err != nil {
		return err
	}
	if err := a.outbox.Start(a.startedMessage); err != nil {
		return err
	}
	workers := append(a.publisher.Workers(), a.presence.Worker())
	if cfg.Delivery.Mode.Streams() {
		workers = append(workers, a.appender.Worker(), datatransfer.Worker{Name: "watch groups", Run: a.groups.run})
	} else {
		workers = append(workers, outbox.NewChannelWriter(cam.StreamTopic, cam.Name, a.clock, a.outbox, log).Worker())
	}
	a.link = datatransfer.NewLink(datatransfer.LinkConfig{
		Redis: cfg.Redis, Name: cam.Name, Admit: a.admit, Workers: workers, Log: log,
		OnOutage: a.meters.link.Lost, OnRecovery: a.meters.link.Back,
		Subscriptions: []datatransfer.Subscription{{Channel: cam.RequestTopic, Handle: a.responder.receive}},
		MaxMessage:    16 * frame.MaxRequestBytes, // to refuse by what it says; more costs no memory
	})
	return a.run(ctx)
}

// driver is the code of others that a build brings along: it may hang, or worse.
type driver struct {
	open camera.Opener
	jpeg camera.JPEGFunc
}

// agent joins the camera side and the Redis side; they know nothing of each other.
type agent struct {
	cfg   *configfile.Config
	cam   camera.Config
	log   zerolog.Logger
	owner *outbox.Claim
	clock *frame.Clock
	began time.Time
	kick  chan struct{} // a status is wanted now; capacity 1
	lost  chan error    // why the agent has to end in order: the camera was given up, or errSpoolBack; capacity 1

	tuning    *tuning
	meters    *meters
	grabber   *camera.Grabber
	responder *responder
	outbox    *outbox.Log
	publisher *outbox.Publisher
	appender  *outbox.StreamWriter
	presence  *Presence
	link      *datatransfer.Link
	spool     *spool.Spool    // nil: the disk cannot be used
	spooler   *outbox.Spooler // nil with spool
	refused   string          // why the disk did not take the spool; "": it did, or it is not the disk
	groups    *groups
	socket    socket
}

// run starts everything, waits for the first end or for ctx, finishes the work
// in hand, and joins every goroutine but those that a C call or a hung disk holds.
func (a *agent) run(ctx context.Context) error {
	a.log.Info().Uint64("epoch", a.owner.Epoch).Str("source", camera.RedactSource(a.cam.Source)).
		Str("redis", a.cfg.Redis.Shown()).Str("delivery", string(a.cfg.Delivery.Mode)).Msg("agent started")
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var parts running
	part := func(name string, f func(context.Context) error) {
		parts.run(name, func() {
			if err := f(work); err != nil {
				stop(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	part("capture", a.capture)
	part("redis", a.link.Run)
	part("serve requests", a.responder.run)
	part("watch", a.watch)
	part("hold the camera", a.hold)
	part("serve the controller", a.private)
	part("tell that it works", newHeartbeat(a, sdnotify.FromEnv(os.Getenv)).run)
	if a.spooler != nil {
		part("spool", a.spooler.Run)
	} else {
		part("regain the spool", a.regainSpool)
	}

	select {
	case <-ctx.Done():
		a.finish(work, true)
		stop(nil)
	case err := <-a.lost:
		a.finish(work, false) // the status stays for a while, and says why
		stop(err)
	case <-work.Done():
	}
	if left := parts.join(joinTime); len(left) > 0 {
		return a.abandon(left, context.Cause(work))
	}
	last, all := a.outbox.Persisted()
	if a.spool != nil {
		if err := a.spool.Close(); err != nil {
			a.log.Error().Err(err).Msg("the spool could not be closed in order")
			all = false
		}
	}
	if all && a.spool != nil && a.outbox.Stats().Unsent == 0 {
		a.owner.Spool = "" // nothing waits there, although a disk that became read-only still shows it
	}
	err := context.Cause(work)
	orderly := errors.Is(err, context.Canceled)
	a.owner.Release(last, (orderly || errors.Is(err, errSpoolBack) || errors.As(err, new(*cameraError))) && all)
	if orderly {
		a.log.Info().Int("kept_for_next_start", a.outbox.Stats().Unsent).Bool("all_kept", all).Msg("agent stopped")
		return nil
	}
	return err
}

// abandon ends the agent though some of its parts do not: a process that waits
// for a hung disk looks alive and is not. What they held counts as after a kill.
func (a *agent) abandon(left []string, cause error) error {
	err := fmt.Errorf("%w %s after the end began: %s; is a disk hanging?", errAbandoned, joinTime, strings.Join(left, ", "))
	if cause != nil && !errors.Is(cause, context.Canceled) {
		err = fmt.Errorf("%w; %w", cause, err)
	}
	return err
}

var errAbandoned = errors.New("parts of the agent still run")

// cameraError marks the end that the camera brought about: the Redis side had
// nothing to do with it, and has finished its work in order. It adds no word:
// what ends a Grabber says itself that it is about the camera.
type cameraError struct{ error }

func (e *cameraError) Unwrap() error { return e.error }

// capture runs the camera. A file that has ended leaves an agent that can still
// say so; a camera that has been given up ends it, as soon as what is in hand
// has been handed over.
func (a *agent) capture(ctx context.Context) error {
	switch err := a.grabber.Run(ctx); {
	case errors.Is(err, camera.ErrEnded):
		a.log.Info().Msg("the source has ended; requests are answered with that")
	case err != nil:
		a.lost <- &cameraError{err}
	}
	return nil
}

// finish takes no new requests and waits until what is in hand has reached
// Redis, or there is no hope for it in time. The status is taken
// back, or shows for a while what ended the agent.
func (a *agent) finish(ctx context.Context, withdraw bool) {
	ctx, cancel := context.WithTimeout(ctx, finishTime)
	defer cancel()
	a.responder.close(ctx)
	if a.link.Status().State != datatransfer.Live {
		return
	}
	if err := a.publisher.Flush(ctx); err != nil {
		return
	}
	_ = a.outbox.Flush(ctx) // what is left is on disk
	s := a.link.Session()
	if s == nil {
		return
	}
	last := a.presence.Withdraw
	if !withdraw {
		last = a.presence.Show
	}
	if err := last(ctx, s); err != nil {
		a.log.Debug().Err(err).Msg("the last status stays until it expires")
	}
}

// admit looks around in a session before it may be LIVE: is another agent
// there, how far is the stream, what was answered before we started?
func (a *agent) admit(ctx context.Context, s *datatransfer.Session) error {
	if err := a.presence.Admit(ctx, s); err != nil {
		return err
	}
	if a.cfg.Delivery.Mode.Streams() {
		if err := a.appender.Admit(ctx, s, a.owner.SetEpoch); err != nil {
			return err
		}
		if !a.responder.isOpen() && a.cam.Wire == camera.WireJSON {
			recall := Recall{
				Key: a.cam.FramesKey, Memory: int64(a.cfg.Delivery.RetainBytes) / 2, Now: a.clock.Now, Remember: a.responder.requests.Remember,
			}
			if err := recall.FromStream(ctx, s); err != nil {
				return err
			}
			if a.spooler != nil {
				recall.FromSpool(a.spooler)
			}
		}
	}
	a.responder.open()
	return nil
}

// startedMessage is the epoch's first entry.
func (a *agent) startedMessage(id frame.ID) (*frame.Message, error) {
	return frame.NewMessage(frame.Header{
		Camera: a.cam.Name, ID: id, Status: frame.StatusStarted, PublishedUS: a.clock.Now(),
		Previous: &a.owner.Previous, Clean: &a.owner.Clean,
	}, nil)
}
