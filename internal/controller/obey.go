package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"framekeeper/internal/agentapi"
	"framekeeper/internal/cli"
	commands "framekeeper/internal/control"
	"framekeeper/internal/status"
	"framekeeper/internal/telemetry"
	"framekeeper/internal/web"
	"framekeeper/pkg/datatransfer"
)

// obey carries out one command.
func (b *box) obey(ctx context.Context, c commands.Command) (any, error) {
	switch c.Name {
	case commands.Status:
		return b.status(), nil
	case commands.Reload:
		result, err := b.reload(ctx)
		if result == nil {
			return nil, err
		}
		return result, err
	case commands.Restart:
		return shownStatus(b.supervisor.Restart(ctx, c.Camera))
	case commands.Stop:
		return shownStatus(b.supervisor.Stop(ctx, c.Camera))
	case commands.Start:
		return shownStatus(b.supervisor.Start(ctx, c.Camera))
	case commands.Set:
		return b.set(ctx, c)
	}
	return nil, fmt.Errorf("the command %q is not carried out here", c.Name)
}

// shownStatus leaves out the status of a camera that is not there.
func shownStatus(s status.Process, err error) (any, error) {
	if s.Name == "" {
		return nil, err
	}
	return s, err
}

// set changes a running agent's settings, through its socket.
func (b *box) set(ctx context.Context, c commands.Command) (any, error) {
	s, err := b.supervisor.Find(c.Camera)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	path := agentapi.Path(b.cfg.StateDir, c.Camera)
	b.mu.Unlock()
	now, err := agentapi.Client{Path: path}.Set(ctx, c.Settings)
	switch {
	case errors.Is(err, agentapi.ErrNoAgent):
		return nil, fmt.Errorf("camera %s is %s: %w", c.Camera, s.State, err)
	case err != nil:
		return nil, err
	}
	return now, nil
}

// status is the box as the command shows it.
func (b *box) status() status.Box {
	r, now := b.report(), time.Now()
	verdict := r.Judge(now)
	b.mu.Lock()
	defer b.mu.Unlock()
	return status.Box{
		Box: r.Box, Version: r.Version, OK: verdict.OK(), UptimeS: status.Seconds(now.Sub(b.began)),
		Config: b.cfg.Path, LoadedS: status.Seconds(now.Sub(b.loaded)), LinkS: status.Seconds(now.Sub(r.Link.Since)),
		Cameras: r.Cameras(now), Findings: r.Findings,
	}
}

// agents is the supervisor's knowledge as telemetry wants it.
func (b *box) agents() []telemetry.Agent {
	var agents []telemetry.Agent
	for _, a := range b.supervisor.Agents() {
		agents = append(agents, telemetry.Agent{
			Name: a.Name, PID: a.PID, State: string(a.State), Restarts: a.Restarts, Frames: a.Frames, FramesAt: a.FramesAt,
		})
	}
	return agents
}

// processes are the agents' that run now, by camera.
func (b *box) processes() map[string]int {
	running := map[string]int{}
	for _, a := range b.supervisor.Agents() {
		running[a.Name] = a.PID
	}
	return running
}

func (b *box) report() web.Report {
	b.mu.Lock()
	p, name := b.parts, b.cfg.Controller.Box
	b.mu.Unlock()
	s := p.link.Status()
	link := status.Link{State: s.State.String(), Live: s.State == datatransfer.Live, Since: s.Since}
	if s.Cause != "" {
		link.Cause, link.Advice = string(s.Cause)+": "+s.Detail, s.Cause.Advice()
	}
	var shared []string
	for _, other := range p.rivals.Alive() {
		shared = append(shared, other.Shown())
	}
	orphaned, _ := b.orphans.Found()
	return web.Report{
		Report: status.Report{
			Head: status.Head{
				Box: name, Version: cli.Version(), Link: link, SharedWith: shared, Redis: p.redisStatus(),
				Findings: status.Findings{Reload: b.reloads.Last(time.Now()), Unwritable: b.disks.list(), Orphaned: orphaned},
			},
			Stuck: b.stuck(s, time.Now()), Agents: b.supervisor.Agents(), Seen: p.watch.observations(),
		},
		Telemetry: p.sampler.Latest(),
	}
}
