package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"framekeeper/internal/agentapi"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
)

// controlsTime is how long the camera may take until its next frame, before
// which controls are set.
const controlsTime = 3 * time.Second

// tuning is the camera's configuration with what was set since the start. It
// lasts until the agent ends: config.toml is the truth.
type tuning struct {
	a *agent

	change sync.Mutex // held by the one change under way

	mu  sync.Mutex // guards cam
	cam camera.Config
}

func (t *tuning) now() camera.Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cam
}

func (t *tuning) settings() agentapi.Settings {
	cam := t.now()
	return agentapi.Of(&cam)
}

// set applies a wish as a whole, or says why not. What may fail comes first.
func (t *tuning) set(ctx context.Context, wish agentapi.Settings) error {
	t.change.Lock()
	defer t.change.Unlock()
	before := t.now()
	cam, err := wish.Apply(before)
	if err != nil {
		return err
	}
	if wish.Quality != nil {
		if err := t.qualityMatters(); err != nil {
			return err
		}
	}
	if len(wish.Controls) > 0 {
		limited, cancel := context.WithTimeout(ctx, controlsTime)
		defer cancel()
		if err := t.a.grabber.SetControls(limited, wish.Controls); err != nil {
			return err
		}
	}
	t.mu.Lock()
	t.cam = cam
	t.mu.Unlock()
	t.a.responder.encoder.SetQuality(cam.Quality)
	if cam.PublishFPS != before.PublishFPS {
		t.a.responder.setPace(newPace(cam.PublishFPS, cam.Interval()))
	}
	t.a.log.Info().Float64("publish_fps", cam.PublishFPS).Int("quality", cam.Quality).Any("controls", cam.Controls).
		Msg("Settings changed, until this agent ends")
	t.a.wantStatus()
	return nil
}

// qualityMatters refuses what would be accepted and have no effect.
func (t *tuning) qualityMatters() error {
	h := t.a.grabber.Health()
	switch {
	case t.a.cam.Encoding != frame.JPEG:
		return errors.New("quality: the camera's encoding is " + string(t.a.cam.Encoding) + ", which has none")
	case h.Frames > 0 && h.Info.Format == camera.MJPEG:
		return errors.New("quality: the camera's own JPEGs are passed on unchanged")
	}
	return nil
}
