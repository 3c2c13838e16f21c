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
	r := b.report()
	b.mu.Lock()
	defer b.mu.Unlock()
	s := status.Box{
		Box: r.Box, Version: r.Version, OK: len(r.Namesakes) == 0, UptimeS: commands.Seconds(time.Since(b.began)),
		Config: b.cfg.Path, LoadedS: commands.Seconds(time.Since(b.loaded)), LinkS: commands.Seconds(time.Since(r.Link.Since)),
		Cameras: []status.Camera{}, Orphaned: r.Unowned, Unwritable: r.Unwritable, Reload: r.Reload,
	}
	for _, a := range r.Agents {
		c := r.Camera(a)
		if s.OK = s.OK && r.Well(a); c.Trouble == "" && a.State != status.ProcessRunning {
			c.Trouble = "its agent " + web.Plainly(a.State)
		}
		s.Cameras = append(s.Cameras, status.Camera{
			Process: a, ForS: commands.Seconds(time.Since(a.Since)), Link: c.Link, Capture: c.Capture, Trouble: c.Trouble, Note: c.Note,
		})
	}
	return s
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
	link := web.Link{State: s.State.String(), Live: s.State == datatransfer.Live, Since: s.Since}
	if s.Cause != "" {
		link.Cause, link.Advice = string(s.Cause)+": "+s.Detail, s.Cause.Advice()
	}
	var rivals []string
	for _, other := range p.rivals.Alive() {
		rivals = append(rivals, other.Shown())
	}
	orphaned, _ := b.orphans.Found()
	return web.Report{
		Box: name, Version: cli.Version(), Link: link, Namesakes: rivals, Redis: p.redisStatus(), Unowned: orphaned,
		Stuck: b.stuck(s, time.Now()), Unwritable: b.disks.list(), Reload: b.reloads.Last(time.Now()),
		Agents: b.supervisor.Agents(), Cameras: p.watch.report(link.Live), Telemetry: p.sampler.Latest(),
	}
}
