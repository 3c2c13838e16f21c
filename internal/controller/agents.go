package controller

import (
	"io"

	"github.com/rs/zerolog"

	"framekeeper/internal/configfile"
	"framekeeper/internal/status"
	"framekeeper/internal/supervise"
	"framekeeper/internal/telemetry"
	"framekeeper/pkg/camera"
)

// agentOptions are the agents to run, and how.
func agentOptions(cfg *configfile.Config, output io.Writer, log zerolog.Logger) (supervise.Options, error) {
	specs, err := agentSpecs(cfg)
	return supervise.Options{Agents: specs, Settings: cfg.Controller.Agents, Output: output, Log: log}, err
}

// agentSpecs are the processes to run. Each agent reads the text that was
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
			// All that an agent reads of the file; of the watchdog it hears at its start.
			Settings: []any{c, cfg.Redis, cfg.Delivery, cfg.Log, cfg.Controller.Agents.WatchdogTimeout},
			Config:   cfg.Text,
		})
	}
	return specs, nil
}

// sampled are the agents as telemetry wants them.
func sampled(all []status.Process, latency map[string]*float64) []telemetry.Agent {
	var agents []telemetry.Agent
	for _, a := range all {
		agents = append(agents, telemetry.Agent{
			Name: a.Name, PID: a.PID, State: string(a.State), Restarts: a.Restarts, Frames: a.Frames, FramesAt: a.FramesAt,
			LatencyMS: latency[a.Name],
		})
	}
	return agents
}

// processes are the agents' that run now, by camera.
func processes(all []status.Process) map[string]int {
	running := map[string]int{}
	for _, a := range all {
		running[a.Name] = a.PID
	}
	return running
}
