package telemetry

import (
	"context"
	"math"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/shirou/gopsutil/v4/process"
)

// meter measures; it remembers the counters of its last measurement, from
// which percentages come. One goroutine at a time may use it.
type meter struct {
	box    string
	disk   string // a path on the file system to watch
	agents func() []Agent

	busy, total float64 // seconds of all cores, at the last measurement
	processes   map[int]usage
	frames      map[string]count // by agent
}

// count is how many frames an agent's camera had given at one moment.
type count struct {
	pid    int
	frames uint64
	at     time.Time
	fps    *float64 // as last worked out
}

// usage is one process's processor time at one moment.
type usage struct {
	born    int64 // when the process began, so that a reused pid is noticed
	seconds float64
	at      time.Time
}

func newMeter(box, path string, agents func() []Agent) *meter {
	return &meter{box: box, disk: path, agents: agents, processes: map[int]usage{}}
}

// measure takes one sample. It may take long or hang in the kernel.
func (m *meter) measure(ctx context.Context) *Sample {
	s := &Sample{
		Box:         m.box,
		TimeUS:      time.Now().UnixMicro(),
		CPU:         m.cpu(ctx),
		Temperature: temperature(thermalDir),
		Throttled:   throttled(ctx, throttledFile, throttledProgram),
		Network:     network(ctx),
		Agents:      m.sampleAgents(ctx),
	}
	if v, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		s.Memory = rounded(v.UsedPercent)
	}
	if v, err := disk.UsageWithContext(ctx, m.disk); err == nil {
		s.Disk = rounded(v.UsedPercent)
	}
	if v, err := host.UptimeWithContext(ctx); err == nil {
		seconds := float64(v)
		s.UptimeS = &seconds
	}
	if v, err := load.AvgWithContext(ctx); err == nil {
		s.Load = &[3]float64{v.Load1, v.Load5, v.Load15}
	}
	return s
}

// cpu is the share of all cores' time that was spent working since the last
// call, nil on the first.
func (m *meter) cpu(ctx context.Context) *float64 {
	all, err := cpu.TimesWithContext(ctx, false)
	if err != nil || len(all) == 0 {
		return nil
	}
	t := all[0]
	// Guest time is contained in user time already.
	total := t.User + t.System + t.Idle + t.Nice + t.Iowait + t.Irq + t.Softirq + t.Steal
	busy := total - t.Idle - t.Iowait
	spent, passed := busy-m.busy, total-m.total
	first := m.total == 0
	m.busy, m.total = busy, total
	if first || passed <= 0 {
		return nil
	}
	return rounded(min(max(100*spent/passed, 0), 100)) // iowait may run backwards
}

func (m *meter) sampleAgents(ctx context.Context) map[string]AgentSample {
	samples := map[string]AgentSample{}
	seen, counted := map[int]usage{}, map[string]count{}
	for _, a := range m.agents() {
		s := AgentSample{PID: a.PID, State: a.State, Restarts: a.Restarts}
		if a.PID > 0 {
			s.CPU, s.RSS = m.process(ctx, a.PID, seen)
			c := m.fps(a)
			s.FPS, counted[a.Name] = c.fps, c
		}
		samples[a.Name] = s
	}
	m.processes, m.frames = seen, counted
	return samples
}

// fps is how fast frames have come since the last sample. Agents tell their
// count now and then; while there is no new one, the last figure stands.
func (m *meter) fps(a Agent) count {
	now := count{pid: a.PID, frames: a.Frames, at: a.FramesAt}
	last, known := m.frames[a.Name]
	switch {
	case !known || last.pid != now.pid || now.frames < last.frames || last.at.IsZero():
	case now.at.After(last.at):
		now.fps = rounded(float64(now.frames-last.frames) / now.at.Sub(last.at).Seconds())
	case time.Since(now.at) < staleAfter:
		return last
	}
	return now
}

// staleAfter is when an agent that tells no new count has none: it hangs.
const staleAfter = 30 * time.Second

// process measures one process and notes its usage in seen for the next time.
func (m *meter) process(ctx context.Context, pid int, seen map[int]usage) (percent *float64, rss *uint64) {
	p, err := process.NewProcessWithContext(ctx, int32(pid))
	if err != nil {
		return nil, nil
	}
	if v, err := p.MemoryInfoWithContext(ctx); err == nil {
		rss = &v.RSS
	}
	times, err := p.TimesWithContext(ctx)
	if err != nil {
		return nil, rss
	}
	now := usage{seconds: times.User + times.System, at: time.Now()}
	if now.born, err = p.CreateTimeWithContext(ctx); err != nil {
		return nil, rss
	}
	seen[pid] = now
	last, known := m.processes[pid]
	passed := now.at.Sub(last.at).Seconds()
	if !known || last.born != now.born || passed <= 0 {
		return nil, rss
	}
	return rounded(100 * (now.seconds - last.seconds) / passed), rss
}

// rounded keeps one decimal: more would be noise.
func rounded(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	v = math.Round(v*10) / 10
	return &v
}
