package web

import (
	"encoding/json"
	"net/http"

	"github.com/rs/zerolog"
)

// verdict answers a machine: 200 if all is well, 503 if not, and why as JSON.
func verdict(w http.ResponseWriter, log zerolog.Logger, ok bool, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		log.Error().Err(err).Msg("cannot encode health")
		http.Error(w, "cannot encode health, see the log", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write(append(b, '\n')) // the visitor may have left
}
