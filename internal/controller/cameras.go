package controller

import (
	"context"
	"fmt"

	"framekeeper/internal/agentapi"
	"framekeeper/internal/status"
)

// cameras asks the agents of the box for pictures and answers, over the sockets that
// the controller has handed to them: no Redis and no directory is needed for it.
type cameras struct {
	agents func() []status.Process
	socket func(camera string) string // where an agent answers that has no other
}

// Names are the cameras in the order of the configuration.
func (c *cameras) Names() []string {
	var names []string
	for _, a := range c.agents() {
		names = append(names, a.Name)
	}
	return names
}

// Picture is the newest exposure of a camera.
func (c *cameras) Picture(ctx context.Context, camera string, q agentapi.Query) (*agentapi.Picture, error) {
	agent, err := c.agent(camera)
	if err != nil {
		return nil, err
	}
	return agent.Picture(ctx, q)
}

// Request has a camera answer a request.
func (c *cameras) Request(ctx context.Context, camera string, request []byte, accept string) (*agentapi.Answer, error) {
	agent, err := c.agent(camera)
	if err != nil {
		return nil, err
	}
	return agent.Request(ctx, request, accept)
}

// status is what a camera's agent reports of itself.
func (c *cameras) status(ctx context.Context, camera string) ([]byte, error) {
	agent, err := c.agent(camera)
	if err != nil {
		return nil, err
	}
	return agent.Status(ctx)
}

// agent is whom to ask.
func (c *cameras) agent(camera string) (agentapi.Client, error) {
	for _, a := range c.agents() {
		switch {
		case a.Name != camera:
		case a.State != status.ProcessRunning:
			return agentapi.Client{}, fmt.Errorf("%w: %s %s", agentapi.ErrNoAgent, camera, a.State.Summary())
		case a.Says != "" && a.Socket != "": // a program that speaks to us knows what it was handed
			return agentapi.Client{Path: a.Socket}, nil
		default:
			return agentapi.Client{Path: c.socket(camera)}, nil
		}
	}
	return agentapi.Client{}, fmt.Errorf("%w: no camera %q", agentapi.ErrNoAgent, camera)
}
