package web

import (
	_ "embed"
	"net/http"
	"time"
)

// description is what all addresses of the controller take and answer, as OpenAPI.
// Tests hold it against the Go types and against a running controller's answers.
//
//go:embed openapi.json
var description []byte

// registerAPI adds the addresses for programs:
//
//	GET /api/v1/status         how box and cameras are: what /readyz answers, always with 200
//	GET /api/v1/openapi.json   the description of all addresses
func registerAPI(mux *http.ServeMux, cfg *Config) {
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, _ *http.Request) {
		report := cfg.Report()
		answer(w, cfg.Log, true, report.Ready(time.Now()))
	})
	mux.HandleFunc("GET /api/v1/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(description) // the visitor may have left
	})
}
