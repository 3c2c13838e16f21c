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

	"framekeeper/internal/agentstatus"
	"framekeeper/internal/web"
	"framekeeper/pkg/camera"
)

const (
	// glance is how often it is looked which cameras are due. Those whose process
	// has shown nothing yet always are: whoever has restarted one looks at once.
	glance = 200 * time.Millisecond
	// hurry is how often a camera that is not well is looked at.
	hurry = time.Second
	// calm is how often a camera that is well is looked at, at least.
	calm = 5 * time.Second
)

// watch reads what the agents say of themselves in Redis: that a process runs
// does not mean that it works.
type watch struct {
	interval  time.Duration
	processes func() map[string]int // by camera: the process that runs, 0 if none does

	mu      sync.Mutex       // guards all below
	cameras []camera.Config  // never changed in place
	seen    map[string]sight // in this session
}

// newWatch makes what looks at each camera every interval, or sooner.
func newWatch(cameras []camera.Config, interval time.Duration, processes func() map[string]int) *watch {
	return &watch{interval: min(interval, calm), processes: processes, cameras: cameras}
}

// sight is what was seen of one camera's status.
type sight struct {
	web.Camera
	timeUS int64
	moved  time.Time // when timeUS was first seen, by our own clock
	at     time.Time // of the look
}

// run looks at every camera that is due, again and again, for as long as the
// session lasts. What it saw counts no more after that.
func (w *watch) run(ctx context.Context, client redis.Cmdable) error {
	defer w.forget()
	tick := time.NewTicker(min(w.interval, glance))
	defer tick.Stop()
	for {
		cameras := w.due(time.Now())
		for i := range cameras {
			if err := w.look(ctx, client, &cameras[i]); err != nil {
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
// that runs, those that are not well soon, and the others after the interval.
func (w *watch) due(now time.Time) []camera.Config {
	running := w.processes()
	w.mu.Lock()
	defer w.mu.Unlock()
	var due []camera.Config
	for _, cam := range w.cameras {
		s, ok := w.seen[cam.Name]
		pause := w.interval
		if !s.Well() {
			pause = min(pause, hurry)
		}
		if !ok || s.PID != running[cam.Name] || now.Sub(s.at) >= pause {
			due = append(due, cam)
		}
	}
	return due
}

// follow is called when there are other cameras to look at: what is new is due at
// the next look around.
func (w *watch) follow(cameras []camera.Config) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cameras = cameras
	maps.DeleteFunc(w.seen, func(name string, _ sight) bool {
		return !slices.ContainsFunc(cameras, func(c camera.Config) bool { return c.Name == name })
	})
}

func (w *watch) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = nil
}

// look reads one status and judges it. An error is one of the connection; what
// the server answers with an error is a trouble like any other.
func (w *watch) look(ctx context.Context, client redis.Cmdable, cam *camera.Config) error {
	key := cam.StatusKey()
	text, err := client.Get(ctx, key).Bytes()
	var answer redis.Error
	var s sight
	switch {
	case err == nil:
		s = w.judge(text, cam, time.Now())
	case errors.Is(err, redis.Nil):
		s.Trouble = web.NoStatus
	case errors.As(err, &answer):
		s.Trouble = fmt.Sprintf("Redis does not let the controller read %s: %v", key, err)
	default:
		return fmt.Errorf("read %s: %w", key, err)
	}
	s.at = time.Now()
	w.mu.Lock()
	if w.seen == nil {
		w.seen = make(map[string]sight)
	}
	w.seen[cam.Name] = s
	w.mu.Unlock()
	return nil
}

// judge reads a status. One that stays the same is of an agent that is gone or
// hangs, and just has not expired yet.
func (w *watch) judge(text []byte, cam *camera.Config, now time.Time) sight {
	p, err := agentstatus.Parse(text)
	if err != nil {
		return sight{Camera: web.Camera{Trouble: cam.StatusKey() + " is not a status"}}
	}
	s := sight{timeUS: p.TimeUS, moved: now}
	w.mu.Lock()
	if before, ok := w.seen[cam.Name]; ok && before.timeUS == p.TimeUS && !before.moved.IsZero() {
		s.moved = before.moved
	}
	w.mu.Unlock()
	s.Camera = web.Camera{PID: p.PID, Link: p.Link.State, Capture: p.Capture.State, Writable: p.Writable, Reason: p.Reason}
	if p.NoSocket != "" {
		s.Note = "cannot be asked for metrics, nor take settings: " + p.NoSocket
	}
	if silent := now.Sub(s.moved); silent > 2*cam.StatusInterval+w.interval {
		s.Trouble = fmt.Sprintf("no new status for %v: the agent hangs, or is gone", silent.Round(time.Second))
	} else if all := p.Troubles(); len(all) > 0 {
		s.Trouble = all[0]
	}
	return s
}

// report is what was seen of every camera. While the controller's own link is
// down nothing is known, and that is what it says.
func (w *watch) report(live bool) map[string]web.Camera {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make(map[string]web.Camera)
	for _, cam := range w.cameras {
		s, ok := w.seen[cam.Name]
		switch {
		case !live:
			all[cam.Name] = web.Camera{Trouble: "not known: the controller's own link to Redis is down"}
		case !ok:
			all[cam.Name] = web.Camera{Trouble: "not looked at yet"}
		default:
			all[cam.Name] = s.Camera
		}
	}
	return all
}
