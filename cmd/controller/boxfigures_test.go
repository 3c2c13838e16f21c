package main

import (
	"maps"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"framekeeper/internal/metrics"
	"framekeeper/internal/telemetry"
)

// What this machine cannot measure, such as a temperature, another one can.
func TestBoxFigures(t *testing.T) {
	cpu, hot, memory, disk, up := 12.5, 61.5, 40.0, 75.0, 3600.0
	now := time.Now()
	for _, c := range []struct {
		name   string
		sample telemetry.Sample
		want   map[string]float64
	}{
		{"everything", telemetry.Sample{
			TimeUS: now.UnixMicro(), CPU: &cpu, Temperature: &hot, Memory: &memory, Disk: &disk, UptimeS: &up, Load: &[3]float64{1, 2, 3},
		}, map[string]float64{
			"cpu_ratio": 0.125, "temperature_celsius": 61.5, "memory_used_ratio": 0.4, "disk_used_ratio": 0.75,
			"load1": 1, "load5": 2, "load15": 3, "uptime_seconds": 3600,
		}},
		{"nothing, and the clock was set back", telemetry.Sample{TimeUS: now.Add(time.Hour).UnixMicro()}, map[string]float64{"sample_age_seconds": 0}},
	} {
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(metrics.NewTable(boxFigures(), func(v metrics.Values) { readBox(v, &c.sample, now) }))
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			got[f.GetName()[len(metrics.Prefix+"box_"):]] = f.GetMetric()[0].GetGauge().GetValue()
		}
		if got["sample_age_seconds"] < 0.001 && len(c.want) > 1 {
			delete(got, "sample_age_seconds")
		}
		if !maps.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}
