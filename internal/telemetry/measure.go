package telemetry

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/shirou/gopsutil/v4/net"
	"github.com/shirou/gopsutil/v4/process"
)

// meter measures; it remembers the counters of its last measurement, from
// which percentages come. One goroutine at a time may use it.
type meter struct {
	box    string
	disk   string // a path on the file system to watch
	agents func() []Agent
	asked  *readings

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

func newMeter(cfg *Config) *meter {
	return &meter{
		box: cfg.Box, disk: cfg.Path, agents: cfg.Agents, processes: map[int]usage{},
		asked: &readings{patience: patience, again: askAgain, log: cfg.Log, all: map[string]*reading{}},
	}
}

// measure takes one sample. What hangs is missing in it.
func (m *meter) measure(ctx context.Context) *Sample {
	m.asked.hanging = nil
	s := &Sample{
		Box:         m.box,
		TimeUS:      time.Now().UnixMicro(),
		CPU:         ask(ctx, m.asked, "processor", m.cpu),
		Temperature: temperature(ctx, m.asked, thermalDir),
		Throttled:   throttled(ctx, m.asked, throttledFile, throttledProgram),
		Network:     ask(ctx, m.asked, "network", network),
		Agents:      m.sampleAgents(ctx),
		Memory:      ask(ctx, m.asked, "memory", memory),
		Disk:        ask(ctx, m.asked, "disk", m.diskUsed),
		UptimeS:     ask(ctx, m.asked, "uptime", uptime),
		Load:        ask(ctx, m.asked, "load", loads),
	}
	s.Hanging = m.asked.hanging
	return s
}

func memory(ctx context.Context) *float64 {
	v, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return nil
	}
	return rounded(v.UsedPercent)
}

func (m *meter) diskUsed(ctx context.Context) *float64 {
	v, err := disk.UsageWithContext(ctx, m.disk)
	if err != nil {
		return nil
	}
	return rounded(v.UsedPercent)
}

func uptime(ctx context.Context) *float64 {
	v, err := host.UptimeWithContext(ctx)
	if err != nil {
		return nil
	}
	seconds := float64(v)
	return &seconds
}

func loads(ctx context.Context) *[3]float64 {
	v, err := load.AvgWithContext(ctx)
	if err != nil {
		return nil
	}
	return &[3]float64{v.Load1, v.Load5, v.Load15}
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
	samples, counted := map[string]AgentSample{}, map[string]count{}
	agents := m.agents()
	needs := ask(ctx, m.asked, "the agents' processes", func(ctx context.Context) map[int]needs { return m.measureProcesses(ctx, agents) })
	for _, a := range agents {
		s := AgentSample{PID: a.PID, State: a.State, Restarts: a.Restarts, LatencyMS: a.LatencyMS}
		if a.PID > 0 {
			s.CPU, s.RSS = needs[a.PID].percent, needs[a.PID].rss
			c := m.fps(a)
			s.FPS, counted[a.Name] = c.fps, c
		}
		samples[a.Name] = s
	}
	m.frames = counted
	return samples
}

// needs are what a process takes of the box.
type needs struct {
	percent *float64
	rss     *uint64
}

func (m *meter) measureProcesses(ctx context.Context, agents []Agent) map[int]needs {
	all, seen := map[int]needs{}, map[int]usage{}
	for _, a := range agents {
		if a.PID > 0 {
			percent, rss := m.process(ctx, a.PID, seen)
			all[a.PID] = needs{percent, rss}
		}
	}
	m.processes = seen
	return all
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

// staleAfter is when an agent that reports no new count has none: it hangs.
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

// maxInterfaces bounds a sample on a box full of virtual interfaces: those
// through which most has passed are reported.
const maxInterfaces = 16

// network reads the interfaces' counters; nil when they cannot be read.
func network(ctx context.Context) map[string]Interface {
	all, err := net.IOCountersWithContext(ctx, true)
	if err != nil {
		return nil
	}
	return interfaces(all)
}

func interfaces(all []net.IOCountersStat) map[string]Interface {
	all = slices.DeleteFunc(all, func(c net.IOCountersStat) bool { return c.Name == "lo" })
	slices.SortFunc(all, func(a, b net.IOCountersStat) int {
		return cmp.Or(cmp.Compare(b.BytesRecv+b.BytesSent, a.BytesRecv+a.BytesSent), cmp.Compare(a.Name, b.Name))
	})
	out := map[string]Interface{}
	for _, c := range all[:min(len(all), maxInterfaces)] {
		out[c.Name] = Interface{
			RXBytes: c.BytesRecv, TXBytes: c.BytesSent, RXErrors: c.Errin, TXErrors: c.Errout, RXDropped: c.Dropin, TXDropped: c.Dropout,
		}
	}
	return out
}
