package telemetry

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// Config of a Sampler.
type Config struct {
	Box      string
	Instance string
	Path     string // on the file system whose fill is reported
	Interval time.Duration
	Agents   func() []Agent // what to report of the agents; called from Run
	Backlog  *Backlog       // gets each sample; nil: one of the sampler's own
	History  *History       // the same
	Log      zerolog.Logger // logs readings that hang
}

// Sampler measures every interval and keeps the newest sample. Run may be
// called once; Latest from any goroutine.
type Sampler struct {
	cfg    Config
	sample func(context.Context) *Sample
	latest atomic.Pointer[Sample]
}

// NewSampler prepares a sampler; nothing is measured before Run.
func NewSampler(cfg Config) *Sampler {
	if cfg.Backlog == nil {
		cfg.Backlog = NewBacklog()
	}
	if cfg.History == nil {
		cfg.History = NewHistory(time.Now())
	}
	return &Sampler{
		cfg:    cfg,
		sample: newMeter(&cfg).measure,
	}
}

// Latest is the newest sample, nil before the first.
func (s *Sampler) Latest() *Sample { return s.latest.Load() }

// Run measures until ctx ends. When a measurement hangs, Run waits for it
// without starting another, and leaves it behind when ctx ends: nothing can
// interrupt a system call on a dead mount.
func (s *Sampler) Run(ctx context.Context) error {
	ticker := time.NewTicker(s.cfg.Interval)
	defer ticker.Stop()
	for {
		result := make(chan *Sample, 1)
		go func() { result <- s.sample(ctx) }()
		select {
		case sample := <-result:
			s.publish(sample)
		case <-ctx.Done():
			s.leave(result)
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// leave gives the measurement in hand a moment to end by itself.
func (s *Sampler) leave(result <-chan *Sample) {
	patience := time.NewTimer(500 * time.Millisecond)
	defer patience.Stop()
	select {
	case <-result:
	case <-patience.C:
	}
}

// publish makes the sample the newest one, and hands it on.
func (s *Sampler) publish(sample *Sample) {
	sample.Instance = s.cfg.Instance
	s.latest.Store(sample)
	s.cfg.History.Add(sample, time.Now(), s.cfg.Interval)
	s.cfg.Backlog.add(sample)
}

// Settings are the keys of the [controller] table that are about telemetry.
type Settings struct {
	LogTopic    string        `toml:"log_topic"` // "": "<box>_log"
	LogInterval time.Duration `toml:"log_interval"`
	LogFormat   string        `toml:"log_format"` // json, or list: the old [cpu, temperature, memory]
}

// Default is what applies when the file leaves them out.
func Default() Settings { return Settings{LogInterval: 5 * time.Second, LogFormat: "json"} }

// FillNames gives the topic its default.
func (s *Settings) FillNames(box string) {
	if s.LogTopic == "" {
		s.LogTopic = box + "_log"
	}
}

// Validate reports everything that is wrong with them.
func (s *Settings) Validate(report func(key, value, expected string)) {
	if len(s.LogTopic) > 256 {
		report("log_topic", s.LogTopic[:32]+"…", "at most 256 bytes")
	}
	if s.LogFormat != "json" && s.LogFormat != "list" {
		report("log_format", s.LogFormat, "json or list")
	}
	if s.LogInterval < 100*time.Millisecond || s.LogInterval > time.Hour {
		report("log_interval", s.LogInterval.String(), "100ms to 1h")
	}
}
