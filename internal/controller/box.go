package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/cli"
	"framekeeper/internal/configfile"
	commands "framekeeper/internal/control"
	"framekeeper/internal/files"
	"framekeeper/internal/logging"
	"framekeeper/internal/orphans"
	"framekeeper/internal/redisserver"
	"framekeeper/internal/reload"
	"framekeeper/internal/supervise"
	"framekeeper/internal/telemetry"
	"framekeeper/internal/web"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
)

// box is everything the controller runs. Supervisor and commands live as long
// as the controller; the rest is replaced when its configuration changes.
type box struct {
	stderr     io.Writer
	output     io.WriteCloser // the agents' lines go here, to stderr in the end
	began      time.Time
	supervisor *supervise.Supervisor
	identity   commands.Identity
	commands   *commands.Server
	backlog    *telemetry.Backlog
	meters     meters
	orphans    *orphans.Watcher
	disks      *disks
	reloads    *reload.Memory
	redis, web slot     // what runs parts.redis and parts.web
	server     slot     // what runs parts.server
	lock       *os.File // in state_dir; nil: it could not be written

	reloading sync.Mutex // held by the one reload under way

	mu     sync.Mutex // guards all below
	cfg    *configfile.Config
	loaded time.Time // when cfg was taken over
	log    zerolog.Logger
	closer io.Closer // of log
	parts  parts
}

// parts are made of one configuration.
type parts struct {
	watch   *watch
	rivals  *commands.Rivals
	sampler *telemetry.Sampler
	link    *datatransfer.Link
	web     *web.Server         // nil: [controller] http is ""
	server  *redisserver.Server // nil: Redis is somebody else's
}

func newBox(cfg *configfile.Config, stderr io.Writer, log zerolog.Logger, closer io.Closer) *box {
	b := &box{stderr: stderr, identity: commands.NewIdentity(), backlog: telemetry.NewBacklog(), began: time.Now(), cfg: cfg, loaded: time.Now(), log: log, closer: closer}
	b.orphans, b.reloads = orphans.NewWatcher(b.spoolDirs, b.logger), reload.NewMemory(b.began)
	b.disks = &disks{look: files.WhyUnwritable, patience: diskPatience, seen: map[string]diskSight{}}
	b.output = logging.Lines(stderr, func(lost uint64) {
		b.logger().Warn().Uint64("lines", lost).Msg("agents' log lines were left out: nobody read them, or the disk hung")
	})
	b.commands = commands.NewServer(b.obey, b.logger)
	return b
}

// assemble makes everything; nothing runs yet.
func (b *box) assemble(ctx context.Context) (parts, error) {
	o, err := b.supervision(b.cfg, b.log)
	if err != nil {
		return parts{}, err
	}
	b.supervisor = supervise.New(o)
	if err := b.measure(); err != nil {
		return parts{}, err
	}
	p := b.redisSide(b.cfg, b.log)
	if p.server, err = b.embedded(ctx, b.cfg); err != nil {
		return parts{}, cli.Usage(err)
	}
	if p.web, err = b.listen(ctx, b.cfg, b.log); err != nil {
		return parts{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.parts = p
	return p, nil
}

// supervision says which agents to keep alive, and how.
func (b *box) supervision(cfg *configfile.Config, log zerolog.Logger) (supervise.Options, error) {
	agents, err := agentSpecs(cfg)
	c := &cfg.Controller
	return supervise.Options{
		Agents: agents, Output: b.output, Log: log, BackoffMax: c.RestartBackoffMax, WatchdogTimeout: c.WatchdogTimeout,
		RecoveryCommand: c.RecoveryCommand, RecoveryAfter: c.RecoveryAfter,
	}, err
}

// maxText is longer than any command and any agent's status: what is longer is
// somebody's mistake, and need not take the box's memory.
const maxText = 1 << 20

// redisSide makes what measures the box, and what talks to Redis.
func (b *box) redisSide(cfg *configfile.Config, log zerolog.Logger) parts {
	c := &cfg.Controller
	p := parts{watch: newWatch(cfg.Cameras, c.LogInterval, b.processes), rivals: b.rivals(c.Box)}
	p.sampler = telemetry.NewSampler(telemetry.Config{Box: c.Box, Instance: b.identity.Instance, Path: cfg.StateDir, Interval: c.LogInterval, Agents: b.agents, Backlog: b.backlog, Log: log})
	publisher := &telemetry.Publisher{Backlog: b.backlog, Topic: c.LogTopic, Format: c.LogFormat, Log: log}
	p.link = datatransfer.NewLink(datatransfer.LinkConfig{
		Redis:         cfg.Redis,
		Name:          c.Box,
		Subscriptions: []datatransfer.Subscription{b.commands.Subscription(p.rivals)},
		MaxMessage:    maxText, MaxReply: maxText,
		Workers: []datatransfer.Worker{{
			Name: "telemetry",
			Run: func(ctx context.Context, s *datatransfer.Session) error {
				return publisher.Run(ctx, s.Data())
			},
		}, {
			Name: "watch",
			Run: func(ctx context.Context, s *datatransfer.Session) error {
				return p.watch.run(ctx, s.Data())
			},
		}, b.commands.Worker(), p.rivals.Worker()},
		OnOutage: b.meters.link.Lost, OnRecovery: b.meters.link.Back,
		Log: log,
	})
	return p
}

// rivals are the other controllers of a name; those that are known already,
// if it is the name we have.
func (b *box) rivals(name string) *commands.Rivals {
	b.mu.Lock()
	known := b.parts.rivals
	b.mu.Unlock()
	if known != nil && known.Box() == name {
		return known
	}
	return commands.NewRivals(name, b.identity, b.logger)
}

// listen takes the web page's address; nil if there is to be none.
func (b *box) listen(ctx context.Context, cfg *configfile.Config, log zerolog.Logger) (*web.Server, error) {
	c := &cfg.Controller
	if c.HTTP == "" {
		return nil, nil //nolint:nilnil // there is none, and nothing wrong
	}
	return web.Listen(ctx, web.Config{
		Addr: c.HTTP, File: cfg.Path, User: c.HTTPUser, PasswordFile: c.HTTPPasswordFile,
		Report: b.report, Metrics: b.meters.handler, Log: log,
	})
}

// agentSpecs says which processes to run. Each agent reads the text that was
// accepted (and inherits the same FRAMEKEEPER_ variables) and picks its camera
// by name.
func agentSpecs(cfg *configfile.Config) ([]supervise.Spec, error) {
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
			Name: c.Name, Source: camera.RedactSource(c.Source), Path: path, Args: []string{"--config", cfg.Path, "--camera", c.Name},
			// All that an agent makes of the file; a watchdog it learns at its start.
			Settings: fmt.Sprintf("%#v %#v %#v %#v %s", c, cfg.Redis, cfg.Delivery, cfg.Log, cfg.Controller.WatchdogTimeout),
			Config:   cfg.Text,
		})
	}
	return specs, nil
}

// run runs all parts until ctx ends or one of them fails, and joins them.
func (b *box) run(ctx context.Context, p parts, hangups <-chan os.Signal) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Agents that are being stopped still hand over what they hold.
	b.server.open(context.WithoutCancel(ctx), cancel)
	b.redis.open(ctx, cancel)
	b.web.open(ctx, cancel)
	var wg sync.WaitGroup
	part := func(run func(context.Context) error) {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	b.server.put(p.runServer)
	p.awaitServer(ctx)
	part(b.supervisor.Run)
	<-b.supervisor.Begun() // whoever gives it orders comes later
	part(b.commands.Run)
	part(b.notify)
	part(b.orphans.Run)
	part(b.watchDisks)
	part(func(ctx context.Context) error { return b.reloadOn(ctx, hangups) })
	b.redis.put(p.runRedis)
	b.web.put(p.runWeb)
	wg.Wait()
	b.redis.clear()
	b.web.clear()
	b.server.clear()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// runRedis runs what measures the box, and the link, which lives a moment longer
// than ctx: for the word that we leave the name.
func (p *parts) runRedis(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { _ = p.sampler.Run(ctx) }) // it never fails
	linked, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	defer close(ended)
	wg.Go(func() {
		defer cancel()
		select {
		case <-ctx.Done():
			p.rivals.Leave(p.link.Session())
		case <-ended:
		}
	})
	return p.link.Run(linked)
}

func (p *parts) runWeb(ctx context.Context) error {
	if p.web == nil {
		return nil
	}
	return p.web.Run(ctx)
}

// spoolDirs are the directories that are configured now.
func (b *box) spoolDirs() orphans.Dirs {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := orphans.Dirs{State: b.cfg.StateDir, Spool: b.cfg.Delivery.SpoolDir}
	for i := range b.cfg.Cameras {
		d.Cameras = append(d.Cameras, b.cfg.Cameras[i].Name)
	}
	return d
}
