package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/agentapi"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
)

// controlsTime limits the wait for the camera's next frame, before which its
// controls are set.
const controlsTime = 3 * time.Second

// liveSettings is the camera's configuration with the changes made since the
// start. They last until the agent ends: then config.toml applies again.
type liveSettings struct {
	controls cameraControls
	output   adjustable
	changed  func() // is called after each change
	log      zerolog.Logger

	change sync.Mutex // held by the one change under way

	mu  sync.Mutex // guards cam
	cam camera.Config
}

// cameraControls is the open camera; *camera.Grabber is one.
type cameraControls interface {
	SetControls(ctx context.Context, controls map[string]int64) error
	Health() camera.Health
}

// adjustable is what makes frames of exposures; *responder is one.
type adjustable interface {
	SetQuality(quality int)
	SetPublishFPS(fps float64)
}

// current is the configuration as it stands now.
func (s *liveSettings) current() camera.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cam
}

// Settings are the current values of what can be changed.
func (s *liveSettings) Settings() agentapi.Settings {
	cam := s.current()
	return agentapi.SettingsOf(&cam)
}

// Change applies all changes, or none and returns why. What may fail comes first.
func (s *liveSettings) Change(ctx context.Context, changes agentapi.Settings) error {
	s.change.Lock()
	defer s.change.Unlock()
	before := s.current()
	cam, err := changes.Apply(before)
	if err != nil {
		return err
	}
	if changes.Quality != nil {
		if err := s.qualityHasEffect(); err != nil {
			return err
		}
	}
	if len(changes.Controls) > 0 {
		limited, cancel := context.WithTimeout(ctx, controlsTime)
		defer cancel()
		if err := s.controls.SetControls(limited, changes.Controls); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.cam = cam
	s.mu.Unlock()
	s.output.SetQuality(cam.Quality)
	if cam.PublishFPS != before.PublishFPS {
		s.output.SetPublishFPS(cam.PublishFPS)
	}
	s.log.Info().Float64("publish_fps", cam.PublishFPS).Int("quality", cam.Quality).Any("controls", cam.Controls).
		Msg("Settings changed; they last until this agent ends")
	s.changed()
	return nil
}

// qualityHasEffect refuses what would be accepted and change nothing.
func (s *liveSettings) qualityHasEffect() error {
	h := s.controls.Health()
	switch {
	case s.current().Encoding != frame.JPEG:
		return errors.New("quality: the camera's encoding is " + string(s.current().Encoding) + ", which has none")
	case h.Frames > 0 && h.Info.Format == camera.MJPEG:
		return errors.New("quality: the camera's own JPEGs are passed on unchanged")
	}
	return nil
}
