package agentapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
)

// Settings are what can be changed of a camera while its agent runs. As a change,
// nil means "as it is"; as an answer everything is there.
type Settings struct {
	PublishFPS *float64         `json:"publish_fps,omitempty"`
	Quality    *int             `json:"quality,omitempty"`
	Controls   map[string]int64 `json:"controls,omitempty"`
}

// SettingsOf are a camera's settings as its configuration has them.
func SettingsOf(c *camera.Config) Settings {
	fps, quality := c.PublishFPS, c.Quality
	return Settings{PublishFPS: &fps, Quality: &quality, Controls: maps.Clone(c.Controls)}
}

// Empty reports whether nothing is to change.
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

// maxBody bounds what either side reads of the other.
const maxBody = 64 << 10

// failure is the body of an answer that is not 200.
type failure struct {
	Error string `json:"error"`
}

// LiveSettings are the settings of a running agent.
type LiveSettings interface {
	Settings() Settings
	// Change applies changes at once and all of them, or none and returns why.
	Change(ctx context.Context, changes Settings) error
}

// HandleSettings serves GET /settings, and POST /settings for changes.
func (s *Server) HandleSettings(live LiveSettings) {
	s.Handle("GET /settings", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, live.Settings()) })
	s.Handle("POST /settings", func(w http.ResponseWriter, r *http.Request) {
		changes, err := readSettings(r.Body)
		if err == nil {
			err = live.Change(r.Context(), changes)
		}
		if err != nil {
			answer(w, http.StatusUnprocessableEntity, failure{err.Error()})
			return
		}
		answer(w, http.StatusOK, live.Settings())
	})
}

func answer(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		code, b = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(b, '\n')) // the client may have gone
}

// readSettings reads one JSON object and rejects keys that are no settings.
func readSettings(r io.Reader) (Settings, error) {
	var s Settings
	b, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err != nil {
		return s, fmt.Errorf("read settings: %w", err)
	}
	if len(b) > maxBody {
		return s, fmt.Errorf("settings of more than %d bytes", maxBody)
	}
	if err := frame.DecodeStrict(b, &s); err != nil {
		return s, fmt.Errorf("settings: %w; expected an object such as %s", err, sample)
	}
	return s, nil
}

const sample = `{"publish_fps": 10, "quality": 80, "controls": {"exposure": 250}}`
