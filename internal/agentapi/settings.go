package agentapi

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"framekeeper/pkg/camera"
)

// Settings are what can be changed of a camera while its agent runs. As a wish,
// nil means "as it is"; as an answer everything is there.
type Settings struct {
	PublishFPS *float64         `json:"publish_fps,omitempty"`
	Quality    *int             `json:"quality,omitempty"`
	Controls   map[string]int64 `json:"controls,omitempty"`
}

// Of are a camera's settings as its configuration has them.
func Of(c *camera.Config) Settings {
	fps, quality := c.PublishFPS, c.Quality
	return Settings{PublishFPS: &fps, Quality: &quality, Controls: maps.Clone(c.Controls)}
}

// Empty reports whether nothing is wished for.
func (s Settings) Empty() bool {
	return s.PublishFPS == nil && s.Quality == nil && len(s.Controls) == 0
}

// Apply is the configuration with the settings in it. What config.toml would be
// refused for is refused here too, everything at once.
func (s Settings) Apply(c camera.Config) (camera.Config, error) {
	if s.Empty() {
		return c, errors.New("nothing to set, expected publish_fps, quality or controls")
	}
	if s.PublishFPS != nil {
		c.PublishFPS = *s.PublishFPS
	}
	if s.Quality != nil {
		c.Quality = *s.Quality
	}
	c.Controls = maps.Clone(c.Controls)
	if c.Controls == nil {
		c.Controls = map[string]int64{}
	}
	maps.Copy(c.Controls, s.Controls)
	var wrong []string
	c.Validate(func(key, value, expected string) {
		wrong = append(wrong, fmt.Sprintf("%s = %s: expected %s", key, value, expected))
	})
	if len(wrong) > 0 {
		slices.Sort(wrong)
		return c, errors.New(strings.Join(wrong, "; "))
	}
	return c, nil
}
