package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/agentapi"
	"framekeeper/internal/async"
	"framekeeper/internal/configfile"
	"framekeeper/internal/sdnotify"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
)

// driver is the foreign code of a build: it may hang, or worse.
type driver struct {
	open    camera.Opener
	jpeg    camera.JPEGFunc
	preview func(camera.Config) *camera.Preview // nil: made with the standard library
}

// pipeline constructs the agent's parts, joins them along the way of a frame, from
// the camera to Redis, and runs them until ctx ends:
//
//	camera ──► Source.Next ──► Grabber (always draining, newest wins, stall watchdog)
//	                              │ a request waits, or publish_fps wants a frame
//	                              ▼
//	request ──► rpc.Server ──► responder ──► Encoder
//	   ▲                          │ the next ID
//	   │                          ▼
//	   │                         Log ────────────────► StreamWriter ──► XADD frames:<camera>
//	   │                          │ item  ◄─► Spooler   ▲ after its answer      (pubsub: ChannelWriter)
//	   │                          ▼                     │
//	   │                       Publisher ───────────────┴────────► PUBLISH stream/<camera>
//	   │
//	   ├── the socket: pictures and, through direct, requests that wait for no session
//	   └── Link: one session after the other; its workers are writer, Publisher, presence
//
// Capture never waits for Redis: Log and Publisher hold what leaves the responder
// until a session takes it. Beside this way stand the parts that observe it:
// heartbeat, monitor, presence, the socket with live settings and metrics. Each
// gets the functions and interfaces it uses; only the agent itself has all parts.
func pipeline(ctx context.Context, cfg *configfile.Config, cam camera.Config, d driver, log zerolog.Logger) error {
	claim, err := outbox.TakeClaim(cfg.StateDir, cam.Name, time.Now(), log)
	if err != nil {
		return fmt.Errorf("claim camera %s: %w", cam.Name, err)
	}
	retain := int64(cfg.Delivery.RetainBytes)
	a := &agent{
		cfg: cfg, cam: cam, log: log, claim: claim, clock: frame.NewClock(),
		statusChange: async.NewWake(), ending: make(chan error, 1),
	}
	a.meters = newMeters(func() datatransfer.LinkStatus { return a.link.Status() })
	a.grabber = camera.NewGrabber(cam, d.open, log)
	a.frames = outbox.NewLog(outbox.LogConfig{
		Camera: cam.Name, Limit: retain, Stream: streamBound(cfg.Delivery), DiskFirst: cfg.Delivery.Sync == outbox.SyncAlways,
		Clock: a.clock, Claim: claim, Log: log,
	})
	ceiling := outbox.NewCeiling(log)
	a.publisher = outbox.NewPublisher(outbox.PublisherConfig{
		Topic: cam.StreamTopic, Limit: retain, Wire: wires[cam.Wire].published(camera.NewDecoder(cam)), Ceiling: ceiling,
		Observe: a.meters.observeAnswer(a.clock), Log: log,
	}, a.frames)
	a.writer = outbox.NewStreamWriter(outbox.StreamWriterConfig{Key: cam.FramesKey, Ceiling: ceiling, Log: log}, a.frames)
	a.channel = outbox.NewChannelWriter(outbox.ChannelWriterConfig{
		Topic: cam.StreamTopic, Wire: wires[cam.Wire].published(camera.NewDecoder(cam)), Ceiling: ceiling, Log: log,
	}, a.frames)
	if d.preview == nil {
		d.preview = func(c camera.Config) *camera.Preview { return camera.NewPreview(c, nil, nil) }
	}
	a.pictures = &pictures{
		cam: cam, epoch: claim.Epoch, source: a.grabber, clock: a.clock, preview: d.preview(cam),
		quality: func() int { return a.settings.current().Quality },
	}
	a.direct = &direct{
		publisher: a.publisher, cam: cam, logged: a.frames, render: a.pictures.whole, waiting: map[string][]chan *outbox.Item{},
		live:    func() bool { return a.linkState() == datatransfer.Live },
		receive: func(payload []byte, arrived time.Time) bool { return a.responder.receive(payload, arrived) },
	}
	a.responder = newResponder(responderConfig{
		Camera: cam, Delivery: cfg.Delivery, Source: a.grabber, Encoder: camera.NewEncoder(encoded(cam, cfg.Delivery.Mode), d.jpeg),
		Frames: notedLog{a.frames, a.pictures.note}, Publisher: a.direct, Clock: a.clock, EncodeTime: a.meters.encode,
		CameraChanged: a.statusChange.Call, Direct: a.direct.has, Log: log,
	})
	if a.spool, err = openSpool(cfg.Delivery, cam.Name, claim, a.frames, log); err != nil {
		return err
	}
	a.settings = &liveSettings{cam: cam, controls: a.grabber, output: a.responder, changed: a.statusChange.Call, log: log}
	a.groups = &consumerGroups{key: cam.FramesKey, interval: cam.StatusInterval, log: a.log}
	a.socket = &socket{path: agentapi.Path(cfg.StateDir, cam.Name), lockHeld: claim.Locked, changed: a.statusChange.Call, log: log}
	a.presence = &presence{presenceConfig: presenceConfig{
		Key: cam.StatusKey(), Topic: cam.StatusTopic(), Interval: cam.StatusInterval,
		Instance: claim.Instance, Owner: claim.StateID, Status: a.newStatus(), Change: a.statusChange, Log: log,
	}}
	a.inquiry = newInquiry(cam, cfg.Redis.CheckTimeout)
	a.link = a.newLink()
	manager, err := sdnotify.Take()
	if err != nil {
		return fmt.Errorf("take the manager's variables: %w", err)
	}
	return a.run(ctx, manager)
}

// newLink joins what works in a session.
func (a *agent) newLink() *datatransfer.Link {
	workers := append(a.publisher.Workers(), a.presence.worker(), outputLimitWorker(a.cfg.Redis, &a.cam, a.log))
	if a.cfg.Delivery.Mode.Streams() {
		workers = append(workers, a.writer.Worker(), a.groups.worker())
	} else {
		workers = append(workers, a.channel.Worker())
	}
	receive := func(payload []byte, arrived time.Time) {
		if a.inquiry.foreign(payload) {
			a.statusChange.Call() // whoever asks, or has stopped asking while this process was frozen, is to be noticed
		}
		if !a.inquiry.own(payload) {
			a.responder.receive(payload, arrived)
		}
	}
	return datatransfer.NewLink(datatransfer.LinkConfig{
		Redis: a.cfg.Redis, Name: a.cam.Name, Admit: a.admit, Workers: workers, Log: a.log,
		OnOutage: a.meters.link.Lost, OnRecovery: a.meters.link.Back,
		Subscriptions: []datatransfer.Subscription{{Channel: a.cam.RequestTopic, Handle: receive}},
		MaxMessage:    16 * frame.MaxRequestBytes, // so that a larger request can be refused with its own id; more costs no memory
		MaxReply:      camera.LargestMessage(&a.cam),
		Optional:      optionalRights(),
	})
}

// admit prepares a session before it may be LIVE: is another agent there, how far
// is the stream, what did an earlier start answer?
func (a *agent) admit(ctx context.Context, s *datatransfer.Session) error {
	ask := func(ctx context.Context) (alive bool, err error) { return a.inquiry.ask(ctx, s) }
	if err := a.presence.admit(ctx, s.Data(), ask); err != nil {
		return err
	}
	if a.cfg.Delivery.Mode.Streams() {
		if err := a.writer.Admit(ctx, s); err != nil {
			return err
		}
		if !a.responder.isOpen() && a.cam.Wire == camera.WireJSON {
			earlier := recall{
				Key: a.cam.FramesKey, Memory: int64(a.cfg.Delivery.RetainBytes) / 2, Now: a.clock.Now, Remember: a.responder.requests.Remember,
			}
			if err := earlier.fromStream(ctx, s); err != nil {
				return err
			}
			if a.spool.spooler != nil {
				earlier.fromSpool(a.spool.spooler)
			}
		}
	}
	a.responder.open()
	return nil
}

// streamBound is how many bytes the stream may have; 0: there is none.
func streamBound(d outbox.Delivery) int64 {
	if !d.Mode.Streams() {
		return 0
	}
	return int64(d.StreamMaxBytes)
}

// encoded is the camera with the encoding that is needed: where only the old system's
// wire carries images, raw pixels.
func encoded(cam camera.Config, mode outbox.Mode) camera.Config {
	if wires[cam.Wire].reply != nil && !mode.Streams() {
		cam.Encoding = frame.Raw
	}
	return cam
}
