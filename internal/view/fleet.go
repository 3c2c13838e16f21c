package view

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/status"
	"framekeeper/internal/telemetry"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
)

const (
	// maxCameras and maxBoxes bound what is remembered: others write it.
	maxCameras, maxBoxes = 4000, 1000
	// rememberAbsent is how long a camera is shown that has gone.
	rememberAbsent = 24 * time.Hour
)

// fleet is what is known of all cameras and boxes.
type fleet struct {
	configured map[string]camera.Config
	only       []string // nil: all there are
	client     status.Client
	version    string
	log        zerolog.Logger
	link       func() datatransfer.LinkStatus

	mu      sync.Mutex // guards all below
	cameras map[string]*sighting
	boxes   map[string]*measured
	off     map[string]string // by feature: why it is switched off
}

// sighting is what was last read of a camera.
type sighting struct {
	status.Observation
	host      string        // that its agent named; "": none has yet
	heard     time.Time     // when its agent last reported, by this machine's clock
	ahead     time.Duration // of this machine's clock before the agent's
	timed     bool          // ahead is known
	noRequest string        // why it cannot be asked for a frame; "" if it can
}

// measured is a box's telemetry.
type measured struct {
	telemetry.Sample
	at time.Time // of its arrival
}

func newFleet(o *Options) *fleet {
	f := &fleet{
		configured: map[string]camera.Config{}, only: o.Only, client: o.Client, version: o.Version, log: o.Log,
		cameras: map[string]*sighting{}, boxes: map[string]*measured{}, off: map[string]string{},
	}
	for _, c := range o.Cameras {
		f.configured[c.Name] = c
	}
	for _, name := range o.Only {
		f.cameras[name] = &sighting{Observation: absent()}
	}
	return f
}

func absent() status.Observation {
	return status.Observation{Missing: status.Reason{Code: status.Absent}}
}

// camera is where a camera is on Redis.
func (f *fleet) camera(name string) camera.Config {
	c, ok := f.configured[name]
	if !ok {
		c = camera.Default()
		c.Name = name
		c.FillNames()
	}
	return c
}

// published takes a status that was just published: how far the agent's clock is off
// shows by it.
func (f *fleet) published(name string, text []byte, now time.Time) {
	seen := status.Observe(text)
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.take(name, seen, now)
	if s != nil && seen.Agent != nil && seen.Agent.TimeUS > 0 {
		s.ahead, s.timed = now.Sub(time.UnixMicro(seen.Agent.TimeUS)), true
	}
}

// read takes what status:<camera> holds, or why nothing is known of it.
func (f *fleet) read(name string, seen status.Observation, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.take(name, seen, now)
}

// take is nil for a camera that there is no room for. The caller holds mu.
func (f *fleet) take(name string, seen status.Observation, now time.Time) *sighting {
	s := f.cameras[name]
	if s == nil {
		if len(f.cameras) >= maxCameras {
			return nil
		}
		s = &sighting{}
		f.cameras[name] = s
	}
	if a := seen.Agent; a != nil && (s.Agent == nil || s.Agent.TimeUS != a.TimeUS) {
		s.heard, s.host = now, a.Host
	}
	s.Observation = seen
	return s
}

// sampled takes a box's telemetry: an object with the box's name, or the old system's
// list, which has none.
func (f *fleet) sampled(topic string, payload []byte, now time.Time) {
	m := &measured{at: now}
	if frame.Decode(payload, &m.Sample) != nil {
		var list []*float64
		if frame.Decode(payload, &list) != nil || len(list) != 3 {
			return // not telemetry
		}
		m.CPU, m.Temperature, m.Memory = list[0], list[1], list[2]
	}
	m.Box = cmp.Or(m.Box, strings.TrimSuffix(topic, "_log"))
	if !camera.ValidName(m.Box) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.boxes[m.Box] != nil || len(f.boxes) < maxBoxes {
		f.boxes[m.Box] = m
	}
}

// switchOff notes why a feature is off; "" switches it on again.
func (f *fleet) switchOff(feature, why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.off[feature] == why {
		return
	}
	if delete(f.off, feature); why != "" {
		f.off[feature] = why
		f.log.Warn().Str("feature", feature).Str("reason", why).Msg("A right is missing on Redis, and the feature is off")
	}
}

// refuseRequests notes why a camera cannot be asked; "" that it can.
func (f *fleet) refuseRequests(name, why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.cameras[name]; s != nil {
		s.noRequest = why
	}
}

// names are the cameras that there are, in order.
func (f *fleet) names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.cameras))
}

// agent is what a camera's agent last reported, and how far this machine's clock is
// ahead of its. nil: nothing.
func (f *fleet) agent(name string) (*status.Agent, time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.cameras[name]; s != nil {
		return s.Agent, s.ahead
	}
	return nil, 0
}

// due are the cameras whose agents have not been heard for so long. Those that have
// been gone for long are forgotten.
func (f *fleet) due(silent time.Duration, now time.Time) (all []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, s := range f.cameras {
		if s.Agent == nil && !slices.Contains(f.only, name) && !s.heard.IsZero() && now.Sub(s.heard) > rememberAbsent {
			delete(f.cameras, name)
		} else if now.Sub(s.heard) >= silent {
			all = append(all, name)
		}
	}
	return all
}
