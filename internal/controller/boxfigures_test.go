package controller

import (
	"bytes"
	"maps"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"framekeeper/internal/metrics"
	"framekeeper/internal/status"
	"framekeeper/internal/telemetry"
)

// What this machine cannot measure, such as a temperature, another one can.
func TestBoxFigures(t *testing.T) {
	cpu, hot, memory, disk, up := 12.5, 61.5, 40.0, 75.0, 3600.0
	now := time.Now()
	for _, c := range []struct {
		name   string
		sample telemetry.Sample
		redis  *status.RedisServer
		want   map[string]float64
	}{
		{"the box", telemetry.Sample{
			TimeUS: now.UnixMicro(), CPU: &cpu, Temperature: &hot, Memory: &memory, Disk: &disk, UptimeS: &up, Load: &[3]float64{1, 2, 3},
		}, nil, map[string]float64{
			"box_cpu_ratio": 0.125, "box_temperature_celsius": 61.5, "box_memory_used_ratio": 0.4, "box_disk_used_ratio": 0.75,
			"box_load1": 1, "box_load5": 2, "box_load15": 3, "box_uptime_seconds": 3600,
		}},
		{"its power", telemetry.Sample{
			TimeUS: now.UnixMicro(), Throttled: &telemetry.Throttled{Now: []string{"frequency capped"}, SinceBoot: []string{"under-voltage", "frequency capped"}},
		}, nil, map[string]float64{
			"box_throttled under_voltage": 0, "box_throttled frequency_capped": 1, "box_throttled throttled": 0,
			"box_throttled soft_temperature_limit": 0, "box_throttled_since_boot under_voltage": 1, "box_throttled_since_boot frequency_capped": 1,
			"box_throttled_since_boot throttled": 0, "box_throttled_since_boot soft_temperature_limit": 0,
		}},
		{"its network", telemetry.Sample{TimeUS: now.UnixMicro(), Network: map[string]telemetry.Interface{
			"eth0":        {RXBytes: 1, TXBytes: 2, RXErrors: 3, TXErrors: 4, RXDropped: 5, TXDropped: 6},
			"\xff broken": {RXBytes: 7},
		}}, nil, map[string]float64{
			"box_network_receive_bytes_total eth0": 1, "box_network_transmit_bytes_total eth0": 2,
			"box_network_receive_errors_total eth0": 3, "box_network_transmit_errors_total eth0": 4,
			"box_network_receive_dropped_total eth0": 5, "box_network_transmit_dropped_total eth0": 6,
		}},
		{"its Redis", telemetry.Sample{TimeUS: now.UnixMicro()}, &status.RedisServer{State: status.ProcessRunning, Restarts: 2, Hangs: 1, Memory: 9, Used: 8}, map[string]float64{
			"embedded_redis_up": 1, "embedded_redis_restarts_total": 2, "embedded_redis_hangs_total": 1,
			"embedded_redis_memory_used_bytes": 8, "embedded_redis_memory_limit_bytes": 9,
		}},
		{"a Redis that is away", telemetry.Sample{TimeUS: now.UnixMicro()}, &status.RedisServer{State: status.ProcessWaiting, Memory: 9}, map[string]float64{
			"embedded_redis_up": 0, "embedded_redis_restarts_total": 0, "embedded_redis_hangs_total": 0, "embedded_redis_memory_limit_bytes": 9,
		}},
		{"what does not answer", telemetry.Sample{TimeUS: now.UnixMicro(), Hanging: []string{"disk", "vcgencmd"}}, nil, map[string]float64{}},
		{"nothing, and the clock was set back", telemetry.Sample{TimeUS: now.Add(time.Hour).UnixMicro()}, nil, map[string]float64{}},
	} {
		got := boxFiguresOf(t, &c.sample, c.redis, now)
		if age, ok := got["box_sample_age_seconds"]; !ok || age < 0 || age > 0.001 {
			t.Errorf("%s: got an age of %v, %v, want 0", c.name, age, ok)
		}
		if hanging, ok := got["box_readings_hanging"]; !ok || hanging != float64(len(c.sample.Hanging)) {
			t.Errorf("%s: got %v hanging, %v, want %d", c.name, hanging, ok, len(c.sample.Hanging))
		}
		delete(got, "box_sample_age_seconds")
		delete(got, "box_readings_hanging")
		if !maps.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// boxFiguresOf is what a scrape shows: names and labels, and values.
func boxFiguresOf(t *testing.T, sample *telemetry.Sample, redis *status.RedisServer, now time.Time) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.NewTable(boxFigures(), func(v metrics.Values) {
		readBox(v, sample, now)
		if redis != nil {
			readRedis(v, redis)
		}
	}))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	var text bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
		for _, m := range f.GetMetric() {
			got[f.GetName()[len(metrics.Prefix):]+labelsOf(m)] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	if problems, err := promlint.New(&text).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	return got
}

func labelsOf(m *dto.Metric) (text string) {
	for _, l := range m.GetLabel() {
		text += " " + l.GetValue()
	}
	return text
}
