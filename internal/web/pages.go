package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/status"
)

// The status page. It is whole without its script, which keeps it up to date
// and says when that is not possible. Style and script are between tags of the
// page, so that nothing else has to be fetched, and byte for byte as here, so
// that their hashes in the security policy fit.
var (
	//go:embed page.html
	boxPage string
	//go:embed fleet.html
	fleetPages string
	//go:embed page.css
	boxStyle string
	//go:embed fleet.css
	fleetStyle string
	//go:embed page.js
	pageScript string
	//go:embed pictures.js
	pictureScript string
	//go:embed fleet.js
	fleetScript string
)

// script, style and page are all of the pages'.
func script() string { return pageScript + pictureScript + fleetScript }
func style() string  { return boxStyle + fleetStyle }
func page() string   { return boxPage + fleetPages }

// hash is how a security policy names what may stand between two tags.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// printOfPage differs between versions of the page that cannot be mixed.
var printOfPage = sync.OnceValue(func() string { return hash(page() + style() + script()) }) //nolint:gochecknoglobals // a constant

// icon is shown on the browser's tab.
func icon(h status.Health) template.URL {
	switch h {
	case status.Healthy:
		return iconOf("%231a7f37", "%23fff", "M8 17l6 6 10-13")
	case status.Degraded:
		return iconOf("%23ffc83d", "%231b1f24", "M16 6v13M16 22v5")
	case status.Failed:
		return iconOf("%23cf222e", "%23fff", "M10 10l12 12M22 10l-12 12")
	default:
		return iconOf("%2357606a", "%23fff", "M8 16h16")
	}
}

func iconOf(colour, sign, path string) template.URL {
	return template.URL("data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'>" + //nolint:gosec // made of constants
		"<rect width='32' height='32' rx='6' fill='" + colour + "'/><path d='" + path + "' fill='none' stroke='" + sign + "' stroke-width='5'/></svg>")
}

// renderer turns what the pages show into HTML.
type renderer struct {
	templates *template.Template
	log       zerolog.Logger
}

func newRenderer(log zerolog.Logger) *renderer {
	return &renderer{log: log, templates: template.Must(template.New("pages").Funcs(template.FuncMap{
		"style":  func() template.CSS { return template.CSS(style()) }, //nolint:gosec // our own
		"script": func() template.JS { return template.JS(script()) },  //nolint:gosec // our own
		"icon":   icon,
		"mark":   mark,
	}).Parse(page()))}
}

// show answers with a page.
func (r *renderer) show(w http.ResponseWriter, name string, data any) {
	var b bytes.Buffer // so that an error does not leave half a page
	if err := r.templates.ExecuteTemplate(&b, name, data); err != nil {
		r.log.Error().Err(err).Str("page", name).Msg("A page cannot be rendered")
		http.Error(w, "the page cannot be rendered, see the log", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes()) // the visitor may have left
}

// pages are the handlers, without their guards.
func pages(cfg Config, pictures *pictures) http.Handler {
	rendered, mux := newRenderer(cfg.Log), http.NewServeMux()
	boxes := func() []Report { return []Report{cfg.Report()} }
	if cfg.Fleet != nil {
		boxes = func() []Report { return cfg.Fleet().Boxes }
		registerFleet(mux, &cfg, rendered)
	} else {
		registerBox(mux, &cfg, rendered)
	}
	registerCamera(mux, &cfg, rendered, boxes)
	if cfg.Gallery != nil {
		registerGallery(mux, &cfg, rendered)
	}
	if cfg.Metrics != nil {
		mux.Handle("GET /metrics", cfg.Metrics)
	}
	if pictures != nil {
		pictures.register(mux, cfg.HTTPEmbed)
	}
	return http.NewCrossOriginProtection().Handler(mux)
}

// registerBox adds what a controller shows of its own box.
func registerBox(mux *http.ServeMux, cfg *Config, rendered *renderer) {
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		report := cfg.Report()
		shown := report.view(time.Now(), cfg.Cameras != nil)
		shown.Timeline = newTimeline(cfg.Events, time.Now())
		rendered.show(w, "box", shown)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		report := cfg.Report()
		alive := report.Alive()
		answer(w, cfg.Log, alive.OK, alive)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		report := cfg.Report()
		ready := report.Ready(time.Now())
		answer(w, cfg.Log, ready.OK, ready)
	})
	registerAPI(mux, cfg)
	if cfg.Events != nil {
		mux.HandleFunc("GET /api/v1/events", eventsHandler(cfg))
	}
}

// answer is for machines: 200 if it is OK, 503 if not, and why as JSON.
func answer(w http.ResponseWriter, log zerolog.Logger, ok bool, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		log.Error().Err(err).Msg("The status cannot be encoded")
		http.Error(w, "the status cannot be encoded, see the log", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write(append(b, '\n')) // the visitor may have left
}
