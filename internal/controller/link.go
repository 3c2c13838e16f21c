package controller

import (
	"context"
	"reflect"
	"sync"

	"github.com/rs/zerolog"

	"framekeeper/internal/configfile"
	commands "framekeeper/internal/control"
	"framekeeper/internal/metrics"
	"framekeeper/internal/status"
	"framekeeper/internal/telemetry"
	"framekeeper/pkg/datatransfer"
)

// boxLink is the controller's link to Redis, with what measures and watches for
// it.
type boxLink struct {
	link      *datatransfer.Link
	presences *presences
	rivals    *commands.Rivals
	sampler   *telemetry.Sampler
}

// runLink runs it. The link lives a moment longer than ctx: for the message that
// we leave the name.
func runLink(ctx context.Context, l *boxLink) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { _ = l.sampler.Run(ctx) }) // it never fails
	linked, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	defer close(ended)
	wg.Go(func() {
		defer cancel()
		select {
		case <-ctx.Done():
			l.rivals.Leave(l.link.Session())
		case <-ended:
		}
	})
	return l.link.Run(linked)
}

// linkPart makes the link.
type linkPart struct {
	current  *replaceable[*boxLink]
	identity commands.Identity
	commands *commands.Server
	backlog  *telemetry.Backlog
	history  *telemetry.History
	agents   func() []status.Process
	latency  func() map[string]*float64 // of the agents' answers, in milliseconds, by camera
	metrics  *metrics.Link
	log      func() *zerolog.Logger
}

// maxText is longer than any command and any agent's status: what is longer is
// somebody's mistake, and need not take the box's memory.
const maxText = 1 << 20

func (p *linkPart) make(cfg *configfile.Config, log zerolog.Logger) *boxLink {
	c := &cfg.Controller
	l := &boxLink{
		presences: newPresences(cfg.Cameras, c.Telemetry.LogInterval, func() map[string]int { return processes(p.agents()) }),
		rivals:    p.rivals(c.Box),
		sampler: telemetry.NewSampler(telemetry.Config{
			Box: c.Box, Instance: p.identity.Instance, Path: cfg.StateDir, Interval: c.Telemetry.LogInterval,
			Agents: func() []telemetry.Agent { return sampled(p.agents(), p.latency()) }, Backlog: p.backlog, History: p.history, Log: log,
		}),
	}
	publisher := &telemetry.Publisher{Backlog: p.backlog, Topic: c.Telemetry.LogTopic, Format: c.Telemetry.LogFormat, Log: log}
	l.link = datatransfer.NewLink(datatransfer.LinkConfig{
		Redis:         cfg.Redis,
		Name:          c.Box,
		Subscriptions: []datatransfer.Subscription{p.commands.Subscription(l.rivals)},
		MaxMessage:    maxText, MaxReply: maxText,
		Optional: map[string]string{"get": "what the agents' statuses on Redis say"},
		Workers: []datatransfer.Worker{
			{Name: "telemetry", Run: func(ctx context.Context, s *datatransfer.Session) error { return publisher.Run(ctx, s.Data()) }},
			{Name: "presences", Run: func(ctx context.Context, s *datatransfer.Session) error { return l.presences.run(ctx, s.Data()) }},
			p.commands.Worker(), l.rivals.Worker(),
		},
		OnOutage: p.metrics.Lost, OnRecovery: p.metrics.Back,
		Log: log,
	})
	return l
}

// rivals are the other controllers of a name; those that are known already,
// if it is the name we have.
func (p *linkPart) rivals(name string) *commands.Rivals {
	if l := p.current.get(); l != nil && l.rivals.Box() == name {
		return l.rivals
	}
	return commands.NewRivals(name, p.identity, p.log)
}

// prepare makes another link if anything but the cameras has changed. It cannot
// fail.
func (p *linkPart) prepare(_ context.Context, c *change) (func() error, error) {
	old, next := &c.old.Controller, &c.next.Controller
	return func() error {
		if c.newLog == nil && old.Box == next.Box && old.Telemetry == next.Telemetry && reflect.DeepEqual(c.old.Redis, c.next.Redis) {
			p.current.get().presences.setCameras(c.next.Cameras)
			return nil
		}
		p.current.replace(p.make(c.next, c.log))
		return nil
	}, nil
}
