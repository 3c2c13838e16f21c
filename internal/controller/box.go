package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/cli"
	"framekeeper/internal/configfile"
	commands "framekeeper/internal/control"
	"framekeeper/internal/files"
	"framekeeper/internal/logging"
	webhook "framekeeper/internal/notify"
	"framekeeper/internal/redisserver"
	"framekeeper/internal/sdnotify"
	"framekeeper/internal/supervise"
	"framekeeper/internal/telemetry"
	"framekeeper/internal/web"
	"framekeeper/pkg/datatransfer"
)

// control runs the box. What can be wrong from the start is an error before
// anything runs. Redis is not among it: the link goes on trying, and reports it.
func control(ctx context.Context, cfg *configfile.Config, stderr io.Writer) (err error) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	log, closer := logging.Begin(cfg.Log, "controller", stderr)
	cfg.WarnReadable(log)
	conf := newConfiguration(cfg, log, closer)
	output := logging.Lines(stderr, func(lost uint64) {
		conf.logger().Warn().Uint64("lines", lost).Msg("Log lines of agents are lost: nobody reads them, or the disk hangs")
	})
	defer func() {
		_ = output.Close() // it never fails
		err = errors.Join(err, conf.Close())
	}()

	lock, err := lockState(ctx, cfg.StateDir)
	switch {
	case err == nil:
		defer func() { _ = lock.Close() }() // nothing was written since
	case errors.Is(err, errNoState):
		log.Warn().Err(err).Str("state_dir", cfg.StateDir).Msg("The controller has no lock and saves nothing: state_dir cannot be written; make it writable and restart the controller")
	default:
		return err
	}
	b, err := newBox(ctx, conf, output, stderr, lock)
	if err != nil {
		return err
	}
	if lock != nil {
		if err := announce(lock); err != nil {
			log.Warn().Err(err).Msg("The controller's process ID cannot be saved; stop.sh will not find this controller")
		}
	}
	address := "off"
	if page := b.page.get(); page != nil {
		address = page.Addr()
	}
	log.Info().Str("box", cfg.Controller.Box).Str("version", cli.Version()).Int("cameras", len(cfg.Cameras)).
		Str("http", address).Msg("Controller started")
	err = b.run(ctx, hangups)
	conf.logger().Info().Msg("Controller stopped")
	return err
}

// box is what runs. Its parts do not know of it: each has what it uses.
type box struct {
	supervisor *supervise.Supervisor
	commands   *commands.Server
	orphans    *orphans
	disks      *disks
	sightings  *sightings
	historian  *historian
	webhook    *webhook.Sender
	reloader   *reloader
	notify     func(context.Context) error

	server *replaceable[*redisserver.Server] // nil: Redis is somebody else's
	link   *replaceable[*boxLink]
	page   *replaceable[*web.Server] // nil: [controller] http is ""
}

// newBox makes and joins all parts; nothing runs yet:
//
//	redisserver.Server ──► redis-server, if embedded: there before all the rest and after it
//
//	SIGHUP ──► reloader ──► configuration, log, and each part whose section has changed
//	               ▲  │
//	               │  └► Supervisor ──► cam-agent processes ◄── settings, over unix sockets
//	               │        │      ▲                                     │
//	               └────────┼──────┴──── commander ◄── commands.Server   │
//	                        │                │             ▲  │          │
//	                 states │    presences ◄═╪═════════════╪══╪══ status:<camera>
//	                        ▼        │       │  control/<box>  answers
//	  the box ──► telemetry.Sampler ─┼─► Publisher ══ Link ══► Redis, log_topic
//	                        │        │                 │ state
//	       disks, orphans ──┴────────┴──► reporter ◄───┘◄── sightings, over unix sockets without Redis
//	                                         │
//	           web server, metrics, commands' status, systemd, historian ──► events ──► webhook.Sender ──► HTTP
func newBox(ctx context.Context, conf *configuration, output, stderr io.Writer, lock *os.File) (*box, error) {
	cfg, log, began := conf.get(), *conf.logger(), time.Now()
	options := func(cfg *configfile.Config, log zerolog.Logger) (supervise.Options, error) {
		return agentOptions(cfg, output, log)
	}
	o, err := options(cfg, log)
	if err != nil {
		return nil, err
	}
	b := &box{
		supervisor: supervise.New(o),
		server:     &replaceable[*redisserver.Server]{run: runServer},
		link:       &replaceable[*boxLink]{run: runLink},
		page:       &replaceable[*web.Server]{run: runPage},
		webhook:    webhook.New(cli.Version(), conf.logger),
	}
	target, err := cfg.Notify.Target(cfg.Controller.Box)
	if err != nil {
		return nil, cli.Usage(err)
	}
	b.webhook.Use(target)
	b.orphans = newOrphans(conf.get, conf.logger)
	b.disks = newDisks(func(setting string) (files.Directory, time.Duration) { return diskOf(conf.get(), lock, setting) }, conf.logger)
	outcomes := newOutcomes(began)
	reporter := &reporter{
		conf: conf, began: began, agents: b.supervisor.Agents, link: b.link, server: b.server, orphans: b.orphans, disks: b.disks, outcomes: outcomes,
		history: telemetry.NewHistory(began),
	}
	seen := &cameras{agents: b.supervisor.Agents, socket: reporter.socket}
	b.historian = newHistorian(cfg.StateDir, lock, b.webhook.Add, conf.logger)
	b.sightings = &sightings{
		wanted: func() bool {
			return b.link.get().link.Status().State != datatransfer.Live || b.historian.comparison.Settling()
		},
		names: seen.Names, ask: seen.status,
	}
	reporter.sightings, b.historian.report = b.sightings, reporter.report
	linkMetrics, handler, err := newMetrics(reporter, newWebhookMetrics(b.webhook.Counts))
	if err != nil {
		return nil, err
	}
	manager, err := sdnotify.Take()
	if err != nil {
		return nil, fmt.Errorf("take the manager's variables: %w", err)
	}
	b.notify = func(ctx context.Context) error { return notify(ctx, manager, reporter.line, conf.logger) }

	commander := &commander{agents: b.supervisor, status: reporter.status, socket: reporter.socket, events: b.historian.log.Since}
	b.commands = commands.NewServer(commander.do, conf.logger)
	servers := &serverPart{current: b.server, log: conf.logger}
	links := &linkPart{
		current: b.link, identity: commands.NewIdentity(), commands: b.commands, backlog: telemetry.NewBacklog(), history: reporter.history,
		agents: b.supervisor.Agents, latency: reporter.latency, metrics: linkMetrics, log: conf.logger,
	}
	pages := &pagePart{current: b.page, report: reporter.report, metrics: handler, cameras: seen, events: b.historian.log.Since}
	b.reloader = &reloader{
		conf: conf, load: configfile.Load, outcomes: outcomes, supervisor: b.supervisor, options: options, after: b.orphans.wake.Call,
		openLog: func(c logging.Config) (zerolog.Logger, io.Closer, error) { return logging.New(c, "controller", stderr) },
		parts:   []part{&webhookPart{b.webhook}, servers, links, pages},
	}
	commander.reload = b.reloader.reload

	b.link.replace(links.make(cfg, log))
	server, err := servers.make(ctx, cfg)
	if err != nil {
		return nil, cli.Usage(err)
	}
	b.server.replace(server)
	page, err := pages.listen(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	b.page.replace(page)
	return b, nil
}

// run runs all parts until ctx ends or one of them fails, and waits for them.
func (b *box) run(ctx context.Context, hangups <-chan os.Signal) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	start := func(run func(context.Context) error) {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	sending, sent := context.WithCancel(context.WithoutCancel(ctx)) // the last event is of the end
	var sender sync.WaitGroup
	sender.Go(func() { b.webhook.Run(sending) })
	defer sender.Wait()
	defer sent()
	// Agents that are being stopped still hand over what they hold.
	b.server.start(context.WithoutCancel(ctx), cancel)
	awaitServer(ctx, b.server.get())
	start(b.supervisor.Run)
	<-b.supervisor.Begun() // before it can be given commands
	start(b.commands.Run)
	start(b.notify)
	start(b.orphans.run)
	start(b.disks.run)
	start(b.sightings.run)
	start(b.historian.run)
	start(b.historian.save)
	start(func(ctx context.Context) error { return b.reloader.run(ctx, hangups) })
	b.link.start(ctx, cancel)
	b.page.start(ctx, cancel)
	wg.Wait()
	b.link.stop()
	b.page.stop()
	b.server.stop()
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	b.historian.stop(ctx, err)
	return err
}
