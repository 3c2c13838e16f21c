package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/internal/status"
	"framekeeper/pkg/camera"
)

const (
	// dueInterval is how often is checked which cameras are due. Those whose
	// process has reported nothing yet always are: who has restarted one looks at
	// once.
	dueInterval = 200 * time.Millisecond
	// troubledInterval is how often the status of a camera is read that does not
	// work.
	troubledInterval = time.Second
	// healthyInterval is how often the status of one that works is read, at least.
	healthyInterval = 5 * time.Second
)

// presences reads what the agents report of themselves in Redis: that a process runs
// does not mean that it works.
type presences struct {
	interval  time.Duration
	processes func() map[string]int // by camera: the process that runs, 0 if none does

	mu      sync.Mutex         // guards all below
	cameras []camera.Config    // never changed in place
	seen    map[string]reading // in this session
}

// newPresences makes what reads each camera's status every interval, or sooner.
func newPresences(cameras []camera.Config, interval time.Duration, processes func() map[string]int) *presences {
	return &presences{interval: min(interval, healthyInterval), processes: processes, cameras: cameras}
}

// reading is one look at a camera's status.
type reading struct {
	status.Observation
	changed time.Time // when its time was first seen, by our own clock
	at      time.Time // of the look
}

// run reads the status of every camera that is due, for as long as the session
// lasts. What it read counts no more after that.
func (p *presences) run(ctx context.Context, client redis.Cmdable) error {
	defer p.forget()
	tick := time.NewTicker(min(p.interval, dueInterval))
	defer tick.Stop()
	for {
		cameras := p.due(time.Now())
		for i := range cameras {
			if err := p.read(ctx, client, &cameras[i]); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// due are the cameras to look at now: those whose status is not of the process
// that runs, those that do not work soon, and the others after the interval.
func (p *presences) due(now time.Time) []camera.Config {
	running := p.processes()
	p.mu.Lock()
	defer p.mu.Unlock()
	var due []camera.Config
	for _, cam := range p.cameras {
		r, ok := p.seen[cam.Name]
		pause, pid := p.interval, 0
		if !r.OK() {
			pause = min(pause, troubledInterval)
		}
		if r.Agent != nil {
			pid = r.Agent.PID
		}
		if !ok || pid != running[cam.Name] || now.Sub(r.at) >= pause {
			due = append(due, cam)
		}
	}
	return due
}

// setCameras replaces the cameras: new ones are due at once.
func (p *presences) setCameras(cameras []camera.Config) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cameras = cameras
	maps.DeleteFunc(p.seen, func(name string, _ reading) bool {
		return !slices.ContainsFunc(cameras, func(c camera.Config) bool { return c.Name == name })
	})
}

func (p *presences) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = nil
}

// read reads one status. An error is one of the connection; what the server
// answers with an error is why there is no status.
func (p *presences) read(ctx context.Context, client redis.Cmdable, cam *camera.Config) error {
	key := cam.StatusKey()
	text, err := client.Get(ctx, key).Bytes()
	var answer redis.Error
	var r reading
	switch {
	case err == nil:
		r = p.observe(text, cam, time.Now())
	case errors.Is(err, redis.Nil):
		r.Missing.Code = status.NoStatus
	case errors.As(err, &answer):
		r.Missing = status.Reason{Code: status.NotPermitted, Detail: fmt.Sprintf("%s: %v", key, err)}
	default:
		return fmt.Errorf("read %s: %w", key, err)
	}
	r.at = time.Now()
	p.mu.Lock()
	if p.seen == nil {
		p.seen = make(map[string]reading)
	}
	p.seen[cam.Name] = r
	p.mu.Unlock()
	return nil
}

// observe reads a status. One that stays the same is of an agent that is gone or
// hangs, and just has not expired yet.
func (p *presences) observe(text []byte, cam *camera.Config, now time.Time) reading {
	r := reading{Observation: status.Observe(text), changed: now}
	if r.Agent == nil {
		return reading{Observation: r.Observation}
	}
	p.mu.Lock()
	if before, ok := p.seen[cam.Name]; ok && before.Agent != nil && before.Agent.TimeUS == r.Agent.TimeUS {
		r.changed = before.changed
	}
	p.mu.Unlock()
	if same := now.Sub(r.changed); same > 2*cam.StatusInterval+p.interval {
		r.Stale = same
	}
	return r
}

// observations are the last readings of every camera.
func (p *presences) observations() map[string]status.Observation {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[string]status.Observation, len(p.seen))
	for name, r := range p.seen {
		all[name] = r.Observation
	}
	return all
}
