package controller

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"framekeeper/internal/metrics"
	"framekeeper/internal/status"
	"framekeeper/internal/telemetry"
	"framekeeper/pkg/datatransfer"
)

// boxFigures names what read reads.
func boxFigures() []metrics.Row {
	camera, network := []string{"camera"}, []string{"interface"}
	return []metrics.Row{
		{Name: "controller_info", Help: "The box's name and the controller's version.", Labels: []string{"box", "version"}},
		{Name: "controller_namesakes", Help: "Other controllers on this Redis that have this box's name."},
		{Name: "config_last_reload_successful", Help: "1 if all of the configuration was taken over when it was last read, by the start or by a reload; 0 if not."},
		{Name: "config_last_reload_success_timestamp_seconds", Help: "When it was last taken over, in Unix time."},
		{Name: "camera_ready", Help: "1 if the camera's agent runs, is LIVE, captures and can write, as /readyz says; 0 if not.", Labels: camera},
		{Name: "agent_state", Help: "1 for the state of the camera's process, 0 for the others.", Labels: []string{"camera", "state"}},
		{Name: "agent_restarts_total", Help: "Processes started for the camera after the first, those included that a command or reload ordered.", Labels: camera},
		{Name: "agent_unexpected_ends_total", Help: "Ends of the camera's process that no command or reload ordered.", Labels: camera},
		{Name: "agent_hangs_total", Help: "Processes killed because they gave no sign of life.", Labels: camera},
		{Name: "agent_recoveries_total", Help: "Times recovery_command was run for the camera.", Labels: camera},
		{Name: "agent_failures_in_row", Help: "Ends of the camera's process in a row without a new frame.", Labels: camera},
		{Name: "spool_unowned_frames", Help: "Frames on disk that wait for a camera which is not configured; missing before the first look."},
		{Name: "spool_unowned_bytes", Help: "Disk space of frames that wait for a camera which is not configured; missing before the first look."},
		{Name: "directory_writable", Help: "1 if the directory of that setting could be written, 0 if its disk is full, read-only or does not answer, or it was deleted; missing before the first look.", Labels: []string{"setting"}},
		{Name: "box_sample_age_seconds", Help: "How old the box's own figures are; missing before the first."},
		{Name: "box_readings_hanging", Help: "Readings of the box that are missing because a sensor or disk does not answer; the telemetry names them."},
		{Name: "box_cpu_ratio", Help: "Share of all cores' time that was spent working."},
		{Name: "box_temperature_celsius", Help: "Temperature of the hottest sensor."},
		{Name: "box_memory_used_ratio", Help: "Share of the memory in use."},
		{Name: "box_disk_used_ratio", Help: "Share of the file system of state_dir in use."},
		{Name: "box_load1", Help: "Load over one minute."},
		{Name: "box_load5", Help: "Load over five minutes."},
		{Name: "box_load15", Help: "Load over fifteen minutes."},
		{Name: "box_uptime_seconds", Help: "How long the box has been up."},
		{Name: "box_throttled", Help: "1 for what a Raspberry Pi's firmware now complains of, 0 for the rest; missing without such firmware.", Labels: []string{"reason"}},
		{Name: "box_throttled_since_boot", Help: "1 for what the firmware has complained of since the box was started, 0 for the rest.", Labels: []string{"reason"}},
		{Name: "box_network_receive_bytes_total", Help: "Bytes the box has received through the interface.", Labels: network},
		{Name: "box_network_transmit_bytes_total", Help: "Bytes the box has sent through the interface.", Labels: network},
		{Name: "box_network_receive_errors_total", Help: "Packets that arrived broken.", Labels: network},
		{Name: "box_network_transmit_errors_total", Help: "Packets that could not be sent.", Labels: network},
		{Name: "box_network_receive_dropped_total", Help: "Packets that arrived and were thrown away, for want of room or of somebody who wanted them.", Labels: network},
		{Name: "box_network_transmit_dropped_total", Help: "Packets that were thrown away instead of being sent.", Labels: network},
		{Name: "embedded_redis_up", Help: "1 if the box's own redis-server answers, 0 if not; missing, as all of it, where there is none."},
		{Name: "embedded_redis_restarts_total", Help: "Processes started after the first."},
		{Name: "embedded_redis_hangs_total", Help: "Processes killed because they did not answer."},
		{Name: "embedded_redis_memory_used_bytes", Help: "Memory that the redis-server has in use; missing until it answers."},
		{Name: "embedded_redis_memory_limit_bytes", Help: "What embedded_redis_memory_used_bytes may reach: its maxmemory."},
	}
}

// read gives the figures of one scrape.
func (r *reporter) read(v metrics.Values) {
	report := r.report()
	v.Set("controller_info", 1, report.Box, report.Version)
	v.Set("controller_namesakes", float64(len(report.SharedWith)))
	good, ok := r.outcomes.lastGood(time.Now())
	v.Flag("config_last_reload_successful", ok)
	v.Set("config_last_reload_success_timestamp_seconds", float64(good.Unix()))
	for i, camera := range report.Judge(time.Now()).Cameras {
		a := &report.Agents[i]
		v.Flag("camera_ready", camera.Health.OK(), a.Name)
		v.State("agent_state", string(a.State), metrics.Names(status.AgentStates()), a.Name)
		v.Set("agent_restarts_total", float64(a.Restarts), a.Name)
		v.Set("agent_unexpected_ends_total", float64(a.Ends), a.Name)
		v.Set("agent_hangs_total", float64(a.Hangs), a.Name)
		v.Set("agent_recoveries_total", float64(a.Recoveries), a.Name)
		v.Set("agent_failures_in_row", float64(a.Failures), a.Name)
	}
	readOrphans(v, report.Orphaned)
	r.disks.read(v)
	if report.Telemetry != nil {
		readBox(v, report.Telemetry, time.Now())
	}
	if report.Redis != nil {
		readRedis(v, report.Redis)
	}
}

func readOrphans(v metrics.Values, found []status.OrphanedSpool) {
	var frames, bytes float64
	for _, s := range found {
		frames += float64(s.Frames)
		bytes += float64(s.Bytes)
	}
	v.Set("spool_unowned_frames", frames)
	v.Set("spool_unowned_bytes", bytes)
}

func readBox(v metrics.Values, s *telemetry.Sample, now time.Time) {
	const percent = 0.01
	v.Set("box_sample_age_seconds", max(now.Sub(time.UnixMicro(s.TimeUS)).Seconds(), 0))
	v.Set("box_readings_hanging", float64(len(s.Hanging)))
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
	readThrottled(v, s.Throttled)
	readNetwork(v, s.Network)
}

func readThrottled(v metrics.Values, s *telemetry.Throttled) {
	if s == nil {
		return
	}
	label := strings.NewReplacer(" ", "_", "-", "_")
	for _, word := range telemetry.ThrottledWords() {
		v.Flag("box_throttled", slices.Contains(s.Now, word), label.Replace(word))
		v.Flag("box_throttled_since_boot", slices.Contains(s.SinceBoot, word), label.Replace(word))
	}
}

// readNetwork gives the interfaces' counters. They are the whole box's, so the
// agents leave them out of their own process's figures.
func readNetwork(v metrics.Values, all map[string]telemetry.Interface) {
	for name, i := range all {
		if !utf8.ValidString(name) { // the kernel takes any bytes, a label does not
			continue
		}
		for what, n := range map[string]uint64{
			"receive_bytes": i.RXBytes, "receive_errors": i.RXErrors, "receive_dropped": i.RXDropped,
			"transmit_bytes": i.TXBytes, "transmit_errors": i.TXErrors, "transmit_dropped": i.TXDropped,
		} {
			v.Set("box_network_"+what+"_total", float64(n), name)
		}
	}
}

func readRedis(v metrics.Values, s *status.RedisServer) {
	v.Flag("embedded_redis_up", s.State == status.ProcessRunning)
	v.Set("embedded_redis_restarts_total", float64(s.Restarts))
	v.Set("embedded_redis_hangs_total", float64(s.Hangs))
	v.Set("embedded_redis_memory_limit_bytes", float64(s.Memory))
	if s.Used > 0 {
		v.Set("embedded_redis_memory_used_bytes", float64(s.Used))
	}
}

// newMetrics makes the metrics of the box: the controller's own, and those of its
// agents, who are asked at each scrape. They outlive the parts that a reload
// replaces.
func newMetrics(r *reporter, more prometheus.Collector) (*metrics.Link, http.Handler, error) {
	link := metrics.NewLink("controller_", func() datatransfer.LinkStatus { return r.link.get().link.Status() })
	own, err := metrics.NewRegistry(nil, link, metrics.NewTable(boxFigures(), r.read), more)
	if err != nil {
		return nil, nil, fmt.Errorf("make metrics: %w", err)
	}
	return link, metrics.Handler(prometheus.Gatherers{own, &metrics.Agents{Sockets: r.sockets}}), nil
}
