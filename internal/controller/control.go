package controller

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/rs/zerolog"

	"framekeeper/internal/cli"
	"framekeeper/internal/configfile"
	"framekeeper/internal/logging"
)

// control runs the box:
//
//	redisserver.Server ──► redis-server, if embedded: there before all the rest and after it
//
//	[[camera]]… ──► Supervisor ──► cam-agent processes ◄── settings, over unix sockets
//	                  │      ▲                                      │
//	           states │      └─────────────── commands.Server ──────┘
//	                  │                          │      ▲
//	                  │     watch ◄══════════════╪══════╪══ status:<camera>
//	                  ▼       │             answers   control/<box>
//	   the box ──► Sampler ──► Publisher ══ Link ══► Redis, log_topic
//	                    │                    │ state
//	                    ▼                    ▼
//	                 web server: /, /healthz, /readyz, /metrics ◄── agents' figures, over unix sockets
//
// What can be wrong from the start is an error before anything runs. Redis is
// not among it: the Link goes on trying, and says so.
func control(ctx context.Context, cfg *configfile.Config, stderr io.Writer) (err error) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	log, closer := logging.Begin(cfg.Log, "controller", stderr)
	b := newBox(cfg, stderr, log, closer)
	defer func() { err = errors.Join(err, b.closeLog()) }()

	lock, err := lockState(ctx, cfg.StateDir)
	switch {
	case err == nil:
		b.lock = lock
		defer func() { _ = lock.Close() }() // nothing was written since
	case errors.Is(err, errNoState):
		log.Warn().Err(err).Str("state_dir", cfg.StateDir).Msg("running without a lock, and nothing is remembered in state_dir; make it writable and start again")
	default:
		return err
	}
	p, err := b.assemble(ctx)
	if err != nil {
		return err
	}
	if lock != nil {
		if err := announce(lock); err != nil {
			log.Warn().Err(err).Msg("stop.sh will not find this controller")
		}
	}
	log.Info().Str("box", cfg.Controller.Box).Str("version", cli.Version()).Int("cameras", len(cfg.Cameras)).
		Str("http", p.address()).Msg("controller started")
	err = b.run(ctx, p, hangups)
	b.logger().Info().Msg("controller stopped")
	return err
}

// closeLog ends the log of the last configuration, and the agents' before it.
func (b *box) closeLog() error {
	_ = b.output.Close() // it never fails
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closer.Close()
}

// logger is the log as the present configuration has it.
func (b *box) logger() *zerolog.Logger {
	b.mu.Lock()
	defer b.mu.Unlock()
	log := b.log
	return &log
}

func (p *parts) address() string {
	if p.web == nil {
		return "off"
	}
	return p.web.Addr()
}
