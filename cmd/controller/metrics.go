package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"framekeeper/internal/agentapi"
	"framekeeper/internal/metrics"
	"framekeeper/internal/supervise"
	"framekeeper/internal/telemetry"
	"framekeeper/pkg/datatransfer"
)

// meters are the controller's metrics. They outlive the parts that a new
// configuration replaces.
type meters struct {
	link    *metrics.Link
	handler http.Handler
}

// measure makes the metrics of the box: the controller's own, and those of its
// agents, who are asked at each scrape.
func (b *box) measure() error {
	link := metrics.NewLink("controller_", b.linkStatus)
	own, err := metrics.NewRegistry(nil, link, metrics.NewTable(boxFigures(), b.read))
	if err != nil {
		return fmt.Errorf("show figures: %w", err)
	}
	b.meters = meters{link: link, handler: metrics.Handler(prometheus.Gatherers{own, &metrics.Agents{Sockets: b.sockets}})}
	return nil
}

// linkStatus is the link of the present configuration.
func (b *box) linkStatus() datatransfer.LinkStatus {
	b.mu.Lock()
	link := b.parts.link
	b.mu.Unlock()
	return link.Status()
}

// sockets are where the agents of the box can be asked.
func (b *box) sockets() map[string]string {
	b.mu.Lock()
	dir := b.cfg.StateDir
	b.mu.Unlock()
	all := map[string]string{}
	for _, a := range b.supervisor.Agents() {
		all[a.Name] = agentapi.Path(dir, a.Name)
	}
	return all
}

// boxFigures names what read reads.
func boxFigures() []metrics.Row {
	camera := []string{"camera"}
	return []metrics.Row{
		{Name: "controller_info", Help: "The box's name and the controller's version.", Labels: []string{"box", "version"}},
		{Name: "controller_namesakes", Help: "Other controllers on this Redis that have this box's name."},
		{Name: "camera_ready", Help: "1 if the camera's agent runs, is LIVE, captures and can write, as /readyz says; 0 if not.", Labels: camera},
		{Name: "agent_state", Help: "1 for the state of the camera's process, 0 for the others.", Labels: []string{"camera", "state"}},
		{Name: "agent_restarts_total", Help: "Processes started for the camera after the first.", Labels: camera},
		{Name: "agent_hangs_total", Help: "Processes killed because they gave no sign of life.", Labels: camera},
		{Name: "agent_recoveries_total", Help: "Times recovery_command was run for the camera.", Labels: camera},
		{Name: "agent_failures_in_row", Help: "Ends of the camera's process in a row without a new frame.", Labels: camera},
		{Name: "spool_unowned_frames", Help: "Frames on disk that wait for a camera which is not configured; missing before the first look."},
		{Name: "spool_unowned_bytes", Help: "Disk space of frames that wait for a camera which is not configured; missing before the first look."},
		{Name: "box_sample_age_seconds", Help: "How old the box's own figures are; missing before the first."},
		{Name: "box_cpu_ratio", Help: "Share of all cores' time that was spent working."},
		{Name: "box_temperature_celsius", Help: "Temperature of the hottest sensor."},
		{Name: "box_memory_used_ratio", Help: "Share of the memory in use."},
		{Name: "box_disk_used_ratio", Help: "Share of the file system of state_dir in use."},
		{Name: "box_load1", Help: "Load over one minute."},
		{Name: "box_load5", Help: "Load over five minutes."},
		{Name: "box_load15", Help: "Load over fifteen minutes."},
		{Name: "box_uptime_seconds", Help: "How long the box has been up."},
	}
}

// read gives the figures of one scrape.
func (b *box) read(v metrics.Values) {
	r := b.report()
	v.Set("controller_info", 1, r.Box, r.Version)
	v.Set("controller_namesakes", float64(len(r.Namesakes)))
	for _, a := range r.Agents {
		v.Flag("camera_ready", r.Well(a), a.Name)
		v.State("agent_state", string(a.State), agentStates(), a.Name)
		v.Set("agent_restarts_total", float64(a.Restarts), a.Name)
		v.Set("agent_hangs_total", float64(a.Hangs), a.Name)
		v.Set("agent_recoveries_total", float64(a.Recoveries), a.Name)
		v.Set("agent_failures_in_row", float64(a.Failures), a.Name)
	}
	b.readLeftovers(v)
	if r.Telemetry != nil {
		readBox(v, r.Telemetry, time.Now())
	}
}

func readBox(v metrics.Values, s *telemetry.Sample, now time.Time) {
	const percent = 0.01
	v.Set("box_sample_age_seconds", max(now.Sub(time.UnixMicro(s.TimeUS)).Seconds(), 0))
	v.Some("box_cpu_ratio", s.CPU, percent)
	v.Some("box_temperature_celsius", s.Temperature, 1)
	v.Some("box_memory_used_ratio", s.Memory, percent)
	v.Some("box_disk_used_ratio", s.Disk, percent)
	v.Some("box_uptime_seconds", s.UptimeS, 1)
	if s.Load != nil {
		for i, name := range []string{"box_load1", "box_load5", "box_load15"} {
			v.Set(name, s.Load[i])
		}
	}
}

func agentStates() []string {
	var all []string
	for _, s := range []supervise.State{
		supervise.Starting, supervise.Running, supervise.Backoff, supervise.CrashLoop, supervise.Hanging,
		supervise.Recovery, supervise.Failed, supervise.Stopping, supervise.Stopped,
	} {
		all = append(all, string(s))
	}
	return all
}

// linkPatience is how much longer than its own timeouts together the link may
// take for anything.
const linkPatience = 30 * time.Second

// stuck names what of the controller itself does not go on. A supervisor that
// hangs is not among it: then there is no answer at all.
func (b *box) stuck(s datatransfer.LinkStatus, now time.Time) []string {
	b.mu.Lock()
	r := b.cfg.Redis
	b.mu.Unlock()
	limit := r.DialTimeout + r.IOTimeout + r.CheckInterval + r.CheckTimeout + r.BackoffMax + linkPatience
	if idle := now.Sub(s.Moved); idle > limit {
		return []string{fmt.Sprintf("the link to Redis has not moved for %v", idle.Round(time.Second))}
	}
	return nil
}
