package telemetry

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shirou/gopsutil/v4/net"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ptr(v float64) *float64 { return &v }

// burn keeps one core busy until the clock has moved on visibly: the kernel
// counts processor time in hundredths of a second.
func burn(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
	}
}

func TestMeasureIsSane(t *testing.T) {
	agents := func() []Agent {
		return []Agent{
			{Name: "busy", PID: os.Getpid(), State: "running", Restarts: 3},
			{Name: "down", State: "backoff", Restarts: 7},
			{Name: "gone", PID: 1 << 22, State: "running"}, // above any pid
		}
	}
	m := newMeter(&Config{Box: "box1", Path: t.TempDir(), Agents: agents})
	m.measure(t.Context())
	burn(300 * time.Millisecond)
	s := m.measure(t.Context())

	if s.Box != "box1" || time.Since(time.UnixMicro(s.TimeUS)).Abs() > time.Minute {
		t.Errorf("got box %q, time %v, want box1, now", s.Box, time.UnixMicro(s.TimeUS))
	}
	for name, p := range map[string]*float64{"cpu": s.CPU, "memory": s.Memory, "disk": s.Disk} {
		if p == nil || *p < 0 || *p > 100 {
			t.Errorf("%s: got %s, want 0 to 100", name, show(p))
		}
	}
	if s.CPU != nil && *s.CPU == 0 {
		t.Error("cpu: got 0 after a busy loop")
	}
	if s.UptimeS == nil || *s.UptimeS <= 0 {
		t.Errorf("uptime: got %s, want more than 0", show(s.UptimeS))
	}
	if s.Load == nil || s.Load[0] < 0 {
		t.Errorf("load: got %v, want three numbers", s.Load)
	}
	busy := s.Agents["busy"]
	if busy.CPU == nil || *busy.CPU < 10 || *busy.CPU > 1000 {
		t.Errorf("a busy process: got cpu %s, want about 100", show(busy.CPU))
	}
	if busy.RSS == nil || *busy.RSS < 1<<20 || busy.Restarts != 3 {
		t.Errorf("a busy process: got %+v, want its rss and 3 restarts", busy)
	}
	for _, name := range []string{"down", "gone"} {
		if a, ok := s.Agents[name]; !ok || a.CPU != nil || a.RSS != nil {
			t.Errorf("%s: got %+v (listed: %v), want it listed without cpu and rss", name, a, ok)
		}
	}
	if s.Agents["down"].State != "backoff" {
		t.Errorf("got state %q, want backoff", s.Agents["down"].State)
	}
}

func show(p *float64) string {
	b, _ := json.Marshal(p)
	return string(b)
}

func TestPayload(t *testing.T) {
	rss := uint64(4096)
	s := &Sample{Box: "b", TimeUS: 5, CPU: ptr(1.5), Memory: ptr(30), Agents: map[string]AgentSample{"c": {PID: 7, State: "running", RSS: &rss}}}
	for format, want := range map[string]string{
		"list": `[1.5,null,30]`,
		"json": `{"box":"b","time_us":5,"cpu":1.5,"temperature":null,"memory":30,"disk":null,"uptime_s":null,"load":null,` +
			`"throttled":null,"network":null,"agents":{"c":{"pid":7,"state":"running","restarts":0,"cpu":null,"rss":4096,"fps":null,"latency_ms":null}}}`,
	} {
		if got, err := s.Payload(format); err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v, want %s", format, got, err, want)
		}
	}
}

func TestTemperature(t *testing.T) {
	for _, c := range []struct {
		zones map[string]string
		want  *float64
	}{
		{nil, nil},
		{map[string]string{"thermal_zone0": "0\n", "thermal_zone1": "-273000\n", "thermal_zone2": "nonsense"}, nil},
		{map[string]string{"thermal_zone0": "41250\n", "thermal_zone1": "62870\n", "thermal_zone2": "4294967\n", "cooling_device0": "99000"}, ptr(62.9)},
		{map[string]string{"thermal_zone0": "-12000\n"}, ptr(-12)},
	} {
		dir := t.TempDir()
		for zone, text := range c.zones {
			if err := os.Mkdir(filepath.Join(dir, zone), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, zone, "temp"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := temperature(t.Context(), asked(t), dir); show(got) != show(c.want) {
			t.Errorf("%v: got %s, want %s", c.zones, show(got), show(c.want))
		}
	}
}

func runSampler(t *testing.T, s *Sampler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run returned %v, want nil", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run did not return within 10 s")
		}
	}
}

func TestSamplerHandsEachSampleOn(t *testing.T) {
	s := NewSampler(Config{Interval: time.Millisecond})
	made := make(chan int64)
	n := int64(0)
	s.sample = func(context.Context) *Sample {
		n++
		made <- n
		return &Sample{UptimeS: ptr(float64(n))}
	}
	stop := runSampler(t, s)
	for range 5 {
		<-made // the fifth begins only after the fourth has been handed on
	}
	for want := range 4 {
		e, ok := s.cfg.Backlog.oldest(false)
		if !ok || *e.sample.UptimeS != float64(want+1) {
			t.Fatalf("got %+v, want sample %d", e, want+1)
		}
		s.cfg.Backlog.published(e)
	}
	go func() {
		for range made {
		}
	}()
	stop()
	close(made)
}

func TestThrottled(t *testing.T) {
	dir := t.TempDir()
	file, script := filepath.Join(dir, "get_throttled"), filepath.Join(dir, "vcgencmd")
	if got := throttled(t.Context(), asked(t), file, script); got != nil {
		t.Errorf("no firmware: got %+v, want nil", got)
	}
	if err := os.WriteFile(script, []byte("#!/bin/sh\n[ \"$1\" = get_throttled ] && echo throttled=0x50005\n"), 0o755); err != nil { //nolint:gosec // to be run
		t.Fatal(err)
	}
	want := `{"flags":"0x50005","now":["under-voltage","throttled"],"since_boot":["under-voltage","throttled"]}`
	if got, _ := json.Marshal(throttled(t.Context(), asked(t), file, script)); string(got) != want {
		t.Errorf("the program: got %s, want %s", got, want)
	}
	if err := os.WriteFile(file, []byte("80008\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want = `{"flags":"0x80008","now":["soft temperature limit"],"since_boot":["soft temperature limit"]}`
	if got, _ := json.Marshal(throttled(t.Context(), asked(t), file, script)); string(got) != want {
		t.Errorf("the file: got %s, want %s", got, want)
	}
	for _, text := range []string{"", "0x", "error=1 error_msg=\"x\"", "fffffffff", "throttled=-1"} {
		if got := parseThrottled([]byte(text)); got != nil {
			t.Errorf("%q: got %+v, want nil", text, got)
		}
	}
}

func TestInterfaces(t *testing.T) {
	all := []net.IOCountersStat{{Name: "lo", BytesRecv: 99}, {Name: "eth0", BytesRecv: 7, BytesSent: 5, Errin: 1, Errout: 2, Dropin: 3, Dropout: 4}}
	for i := range 30 {
		all = append(all, net.IOCountersStat{Name: fmt.Sprintf("veth%d", i)})
	}
	got := interfaces(all)
	if len(got) != maxInterfaces || got["eth0"] != (Interface{7, 5, 1, 2, 3, 4}) {
		t.Errorf("got %d with eth0 %+v, want %d, the busiest among them", len(got), got["eth0"], maxInterfaces)
	}
	if _, ok := got["lo"]; ok {
		t.Error("got loopback, want it left out")
	}
	if network(t.Context()) == nil {
		t.Error("this machine's interfaces: got nil")
	}
}

func TestFPS(t *testing.T) {
	m := newMeter(&Config{})
	now := time.Now()
	for i, c := range []struct {
		agent Agent
		want  *float64
	}{
		{Agent{Name: "c", PID: 1}, nil},
		{Agent{Name: "c", PID: 1, Frames: 10, FramesAt: now}, nil},
		{Agent{Name: "c", PID: 1, Frames: 60, FramesAt: now.Add(2 * time.Second)}, ptr(25)},
		{Agent{Name: "c", PID: 1, Frames: 60, FramesAt: now.Add(2 * time.Second)}, ptr(25)}, // nothing new was reported
		{Agent{Name: "c", PID: 1, Frames: 60, FramesAt: now.Add(4 * time.Second)}, ptr(0)},
		{Agent{Name: "c", PID: 2, Frames: 99, FramesAt: now.Add(5 * time.Second)}, nil},
	} {
		got := m.fps(c.agent)
		m.frames = map[string]count{"c": got}
		if show(got.fps) != show(c.want) {
			t.Errorf("step %d: got %s, want %s", i, show(got.fps), show(c.want))
		}
	}
}

func TestHungMeasurementBlocksNothing(t *testing.T) {
	s := NewSampler(Config{Interval: time.Millisecond})
	hang, hung := make(chan struct{}), make(chan struct{})
	n := 0
	s.sample = func(context.Context) *Sample {
		if n++; n == 2 {
			close(hung)
			<-hang
		}
		return &Sample{TimeUS: int64(n)}
	}
	stop := runSampler(t, s)
	<-hung
	if got := s.Latest(); got == nil || got.TimeUS != 1 {
		t.Errorf("got %+v while a measurement hangs, want the one before", got)
	}
	stop()
	close(hang)
}
