package main

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/rs/zerolog"

	"framekeeper/internal/config"
	"framekeeper/internal/logging"
	"framekeeper/internal/redisserver"
	"framekeeper/internal/supervise"
	"framekeeper/internal/telemetry"
	"framekeeper/internal/version"
	"framekeeper/internal/web"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
)

// control runs the box:
//
//	redis-server, if embedded: there before and after all the rest
//	[[camera]]… ──► Supervisor ──► cam-agent processes
//	                    │ states          watch ◄══ Link ══ status:<camera>
//	                    ▼                    │
//	   the box ──► Sampler ──► Publisher ══ Link ══► Redis, log_topic
//	                    │                    │ state
//	                    ▼                    ▼
//	                 web server: / and /healthz
//
// What can be wrong from the start is an error before anything runs. Redis is
// not among it: the Link goes on trying, and says so.
func control(ctx context.Context, cfg *config.Config, stderr io.Writer) (err error) {
	log, closer, err := logging.New(cfg.Log, "controller", stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()

	lock, err := lockState(ctx, cfg.StateDir)
	switch {
	case err == nil:
		defer func() { _ = lock.Close() }() // nothing was written since
	case errors.Is(err, errNoState):
		log.Warn().Err(err).Str("state_dir", cfg.StateDir).Msg("running without a lock; agents cannot keep frames on disk either")
	default:
		return err
	}
	b, err := assemble(ctx, cfg, stderr, log)
	if err != nil {
		return err
	}
	if lock != nil {
		if err := announce(lock); err != nil {
			log.Warn().Err(err).Msg("stop.sh will not find this controller")
		}
	}
	log.Info().Str("box", cfg.Controller.Box).Str("version", version.String()).Int("cameras", len(cfg.Cameras)).
		Str("http", b.address()).Msg("controller started")
	err = b.run(ctx, log)
	log.Info().Msg("controller stopped")
	return err
}

// box is everything the controller runs.
type box struct {
	cfg        *config.Config
	supervisor *supervise.Supervisor
	watch      *watch
	sampler    *telemetry.Sampler
	link       *datatransfer.Link
	web        *web.Server         // nil: [controller] http is ""
	redis      *redisserver.Server // nil: Redis is somebody else's
}

func assemble(ctx context.Context, cfg *config.Config, stderr io.Writer, log zerolog.Logger) (*box, error) {
	agents, err := agentSpecs(cfg)
	if err != nil {
		return nil, err
	}
	server, err := embedded(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	c := &cfg.Controller
	b := &box{redis: server, cfg: cfg, watch: &watch{cameras: cfg.Cameras, interval: c.LogInterval}}
	b.supervisor = supervise.New(supervise.Options{
		Agents: agents, Output: stderr, Log: log, BackoffMax: c.RestartBackoffMax, WatchdogTimeout: c.WatchdogTimeout,
		RecoveryCommand: c.RecoveryCommand, RecoveryAfter: c.RecoveryAfter,
	})
	b.sampler = telemetry.NewSampler(telemetry.Config{Box: c.Box, Path: cfg.StateDir, Interval: c.LogInterval, Agents: b.agents})
	publisher := &telemetry.Publisher{Sampler: b.sampler, Topic: c.LogTopic, Format: c.LogFormat, Log: log}
	b.link = datatransfer.NewLink(datatransfer.LinkConfig{
		Redis: cfg.Redis,
		Name:  c.Box,
		Workers: []datatransfer.Worker{{
			Name: "telemetry",
			Run: func(ctx context.Context, s *datatransfer.Session) error {
				return publisher.Run(ctx, s.Data())
			},
		}, {
			Name: "watch",
			Run: func(ctx context.Context, s *datatransfer.Session) error {
				return b.watch.run(ctx, s.Data())
			},
		}},
		Log: log,
	})
	if c.HTTP != "" {
		b.web, err = web.Listen(ctx, web.Config{
			Addr: c.HTTP, File: cfg.Path, User: c.HTTPUser, PasswordFile: c.HTTPPasswordFile, Report: b.report, Log: log,
		})
	}
	return b, err
}

// agentSpecs says which processes to run. Each agent reads the same file (and
// inherits the same FRAMEKEEPER_ variables) and picks its camera by name.
func agentSpecs(cfg *config.Config) ([]supervise.Spec, error) {
	if len(cfg.Cameras) == 0 {
		return nil, nil
	}
	path, err := supervise.FindAgent()
	if err != nil {
		return nil, err
	}
	var specs []supervise.Spec
	for _, c := range cfg.Cameras {
		specs = append(specs, supervise.Spec{
			Name: c.Name, Source: camera.ShownSource(c.Source), Path: path, Args: []string{"--config", cfg.Path, "--camera", c.Name},
		})
	}
	return specs, nil
}

// run runs all parts until ctx ends or one of them fails, and joins them.
func (b *box) run(ctx context.Context, log zerolog.Logger) error {
	defer b.serveRedis(ctx)()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	notify := func(ctx context.Context) error { return b.notify(ctx, log) }
	parts := []func(context.Context) error{b.supervisor.Run, b.sampler.Run, b.link.Run, notify}
	if b.web != nil {
		parts = append(parts, b.web.Run)
	}
	var wg sync.WaitGroup
	for _, part := range parts {
		wg.Go(func() {
			if err := part(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (b *box) address() string {
	if b.web == nil {
		return "off"
	}
	return b.web.Addr()
}

// agents is the supervisor's knowledge as telemetry wants it.
func (b *box) agents() []telemetry.Agent {
	var agents []telemetry.Agent
	for _, a := range b.supervisor.Agents() {
		agents = append(agents, telemetry.Agent{Name: a.Name, PID: a.PID, State: string(a.State), Restarts: a.Restarts})
	}
	return agents
}

func (b *box) report() web.Report {
	s := b.link.Status()
	link := web.Link{State: s.State.String(), Live: s.State == datatransfer.Live, Since: s.Since}
	if s.Cause != "" {
		link.Cause = string(s.Cause) + ": " + s.Detail
	}
	return web.Report{
		Redis: b.redisStatus(), Box: b.cfg.Controller.Box, Version: version.String(), Link: link,
		Agents: b.supervisor.Agents(), Cameras: b.watch.report(link.Live), Telemetry: b.sampler.Latest(),
	}
}
