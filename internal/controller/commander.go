package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"framekeeper/internal/agentapi"
	commands "framekeeper/internal/control"
	"framekeeper/internal/events"
	"framekeeper/internal/status"
)

// commander carries out commands.
type commander struct {
	agents interface {
		Restart(ctx context.Context, camera string) (status.Process, error)
		Stop(ctx context.Context, camera string) (status.Process, error)
		Start(ctx context.Context, camera string) (status.Process, error)
		Find(camera string) (status.Process, error)
	}
	reload func(context.Context) (*commands.ReloadResult, error)
	status func() status.Box
	events func(since time.Time, limit int) []events.Event
	socket func(camera string) string // of its agent
}

// do carries out one command.
func (c *commander) do(ctx context.Context, command commands.Command) (any, error) {
	switch command.Name {
	case commands.Status:
		return c.status(), nil
	case commands.Events:
		return c.events(command.Since, command.Limit), nil
	case commands.Reload:
		result, err := c.reload(ctx)
		if result == nil {
			return nil, err
		}
		return result, err
	case commands.Restart:
		return found(c.agents.Restart(ctx, command.Camera))
	case commands.Stop:
		return found(c.agents.Stop(ctx, command.Camera))
	case commands.Start:
		return found(c.agents.Start(ctx, command.Camera))
	case commands.Set:
		return c.set(ctx, command)
	}
	return nil, fmt.Errorf("the command %q is not carried out here", command.Name)
}

// found leaves out the status of a camera that is not there.
func found(s status.Process, err error) (any, error) {
	if s.Name == "" {
		return nil, err
	}
	return s, err
}

// set changes a running agent's settings, through its socket.
func (c *commander) set(ctx context.Context, command commands.Command) (any, error) {
	s, err := c.agents.Find(command.Camera)
	if err != nil {
		return nil, err
	}
	settings, err := agentapi.Client{Path: c.socket(command.Camera)}.Set(ctx, command.Settings)
	switch {
	case errors.Is(err, agentapi.ErrNoAgent):
		return nil, fmt.Errorf("camera %s is %s: %w", command.Camera, s.State, err)
	case err != nil:
		return nil, err
	}
	return settings, nil
}
