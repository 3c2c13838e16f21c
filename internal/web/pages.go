package web

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"framekeeper/internal/supervise"
	"framekeeper/internal/telemetry"
)

const style = `
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 44rem; color: #1b1f24; background: #fff }
h1 { font-size: 1.4rem; margin: 0 } h2 { font-size: 1.1rem; margin: 1.5rem 0 .3rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: 0 } dt { color: #57606a } dd { margin: 0; overflow-wrap: anywhere }
section.agent { border-left: .3rem solid #cf222e; padding-left: .8rem; margin: .8rem 0 } section.ok { border-color: #1a7f37 }
.ok b { color: #1a7f37 } .bad b { color: #cf222e } footer { margin-top: 2rem; color: #57606a; font-size: .85rem }
@media (prefers-color-scheme: dark) { body { color: #e6edf3; background: #0d1117 } dt, footer { color: #9198a1 } .ok b { color: #3fb950 } .bad b { color: #f85149 } }
`

const page = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="5">
<title>{{.Box}}</title>
<style>{{style}}</style>
</head>
<body>
<h1>{{.Box}}</h1>
<p class="{{if .Link.Live}}ok{{else}}bad{{end}}">Redis: <b>{{.Link.State}}</b>{{if .Link.Live}} for {{since .Link.Since}}{{end}}{{with .Link.Cause}}: {{.}}{{end}}</p>
{{range .Namesakes}}<p class="bad">Name: <b>shared</b> with controller {{.}}: give each box a [controller] box of its own</p>
{{end}}{{with .Redis}}<p class="{{if eq .State "running"}}ok{{else}}bad{{end}}">Redis of this box: <b>{{.State}}</b> for {{since .Since}}, {{.Restarts}} restarts{{with .Hangs}}, {{.}} of them because it hung{{end}}{{with .LastExit}}, last end: {{.}}{{end}}</p>
{{end}}<h2>Cameras</h2>
{{range .Agents}}{{$agent := .}}{{$camera := camera $ .}}<section class="agent {{if well $ .}}ok{{else}}bad{{end}}">
{{.Name}}: <b>{{.State}}</b> for {{since .Since}}{{with $camera.Trouble}}, not well: {{.}}{{end}}
<dl>
{{with $camera.Link}}<dt>link</dt><dd>{{.}}</dd>{{end}}
{{with $camera.Capture}}<dt>capture</dt><dd>{{.}}</dd>{{end}}
{{if .PID}}<dt>pid</dt><dd>{{.PID}}</dd>{{end}}
<dt>restarts</dt><dd>{{.Restarts}}{{with .Hangs}}, {{.}} of them because it hung{{end}}</dd>
{{with .Failures}}<dt>failures in a row</dt><dd>{{.}}</dd>{{end}}
{{with .Recoveries}}<dt>recovery command</dt><dd>run {{.}} times, last: {{$agent.LastRecovery}}</dd>{{end}}
{{with .LastExit}}<dt>last end</dt><dd>{{.}}</dd>{{end}}
{{with usage $.Telemetry .Name}}<dt>CPU</dt><dd>{{number .CPU "%"}}</dd><dt>memory</dt><dd>{{mebibytes .RSS}}</dd>{{end}}
</dl>
</section>
{{else}}<p>No camera is configured.</p>
{{end}}
{{range .Unowned}}<p class="bad"><b>{{.Frames}} frames</b> wait on disk for {{.Camera}}, which is not configured: {{.Advice}}</p>
{{end}}<h2>Box</h2>
{{with .Telemetry}}<dl>
<dt>CPU</dt><dd>{{number .CPU "%"}}</dd>
<dt>temperature</dt><dd>{{number .Temperature "°C"}}</dd>
<dt>memory</dt><dd>{{number .Memory "%"}}</dd>
<dt>disk</dt><dd>{{number .Disk "%"}}</dd>
<dt>up for</dt><dd>{{seconds .UptimeS}}</dd>
</dl>{{else}}<p>Not measured yet.</p>{{end}}
<footer>Framekeeper {{.Version}}, {{now}}</footer>
</body>
</html>
`

// pages are the handlers, without their guards.
func pages(cfg Config) http.Handler {
	status := template.Must(template.New("page").Funcs(helpers()).Parse(page))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		var b bytes.Buffer // so that an error does not leave half a page
		if err := status.Execute(&b, cfg.Report()); err != nil {
			cfg.Log.Error().Err(err).Msg("cannot make the status page")
			http.Error(w, "cannot make the page, see the log", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(b.Bytes()) // the visitor may have left
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		report := cfg.Report()
		alive := report.alive()
		verdict(w, cfg.Log, alive.OK, alive)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		report := cfg.Report()
		health := report.health()
		verdict(w, cfg.Log, health.OK, health)
	})
	if cfg.Metrics != nil {
		mux.Handle("GET /metrics", cfg.Metrics)
	}
	return mux
}

func helpers() template.FuncMap {
	return template.FuncMap{
		"style":  func() template.CSS { return style }, // verbatim, so that its hash fits
		"now":    func() string { return time.Now().Format(time.DateTime) },
		"since":  func(t time.Time) string { return time.Since(t).Round(time.Second).String() },
		"well":   func(r Report, a supervise.Status) bool { return r.Well(a) },
		"camera": func(r Report, a supervise.Status) Camera { return r.Camera(a) },
		"usage": func(s *telemetry.Sample, name string) *telemetry.AgentSample {
			if s == nil {
				return nil
			}
			if a, ok := s.Agents[name]; ok && a.PID > 0 {
				return &a
			}
			return nil
		},
		"number": func(v *float64, unit string) string {
			if v == nil {
				return "unknown"
			}
			return fmt.Sprintf("%.1f %s", *v, unit)
		},
		"mebibytes": func(v *uint64) string {
			if v == nil {
				return "unknown"
			}
			return fmt.Sprintf("%.1f MiB", float64(*v)/(1<<20))
		},
		"seconds": func(v *float64) string {
			if v == nil {
				return "unknown"
			}
			return time.Duration(*v * float64(time.Second)).Round(time.Minute).String()
		},
	}
}
