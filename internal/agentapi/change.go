package agentapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// maxBody bounds what either side reads of the other.
const maxBody = 64 << 10

// failure is the body of an answer that is not 200.
type failure struct {
	Error string `json:"error"`
}

// HandleSettings serves GET /settings, and POST /settings for a wish. change
// applies a wish at once and as a whole, or explains why not.
func (s *Server) HandleSettings(now func() Settings, change func(context.Context, Settings) error) {
	s.Handle("GET /settings", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, now()) })
	s.Handle("POST /settings", func(w http.ResponseWriter, r *http.Request) {
		wish, err := ReadSettings(http.MaxBytesReader(w, r.Body, maxBody))
		if err == nil {
			err = change(r.Context(), wish)
		}
		if err != nil {
			answer(w, http.StatusUnprocessableEntity, failure{err.Error()})
			return
		}
		answer(w, http.StatusOK, now())
	})
}

func answer(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		code, b = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(b, '\n')) // the caller may have left
}

// ReadSettings reads one JSON object and refuses keys that are no settings.
func ReadSettings(r io.Reader) (Settings, error) {
	var s Settings
	b, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err != nil {
		return s, fmt.Errorf("read settings: %w", err)
	}
	if len(b) > maxBody {
		return s, fmt.Errorf("settings of more than %d bytes", maxBody)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, fmt.Errorf("settings: %w; expected an object such as %s", err, sample)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return s, errors.New("settings: something follows the object")
	}
	return s, nil
}

const sample = `{"publish_fps": 10, "quality": 80, "controls": {"exposure": 250}}`
