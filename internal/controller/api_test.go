package controller

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"framekeeper/internal/status"
	"framekeeper/internal/testkit/redistest"
)

// described holds answers of running controllers against what one of them serves as
// their description.
type described struct {
	t    *testing.T
	doc  *openapi3.T
	seen map[string]bool // "GET /healthz 200"
}

// visit makes a request of the address with this template, and wants an answer with
// this code that is as described.
func (d *described) visit(s setup, code int, method, template, query, body string, header ...string) {
	d.t.Helper()
	address := strings.ReplaceAll(template, "{name}", "cam1") + query
	if strings.HasPrefix(query, "!") { // another camera than cam1
		address = strings.ReplaceAll(template, "{name}", query[1:])
	}
	req, err := http.NewRequestWithContext(d.t.Context(), method, "http://"+s.http+address, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if req.Header.Get("Host") != "" {
		req.Host = req.Header.Get("Host")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	what := fmt.Sprintf("%s %s %d", method, template, resp.StatusCode)
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 2000)) // of a stream the beginning
	if !strings.HasSuffix(template, "stream.mjpeg") {
		var rest []byte
		if rest, err = io.ReadAll(resp.Body); err == nil {
			answer = append(answer, rest...)
		}
	}
	if err != nil || resp.StatusCode != code {
		d.t.Errorf("%s%s: want %d, got %.300s (%v)", what, query, code, answer, err)
		return
	}
	d.check(what, template, req, resp, answer)
}

func (d *described) check(what, template string, req *http.Request, resp *http.Response, answer []byte) {
	d.t.Helper()
	d.seen[what] = true
	item := d.doc.Paths.Value(template)
	if item == nil || item.GetOperation(req.Method) == nil {
		d.t.Errorf("%s: not described", what)
		return
	}
	err := openapi3filter.ValidateResponse(d.t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: req, Route: &routers.Route{Spec: d.doc, Path: template, PathItem: item, Method: req.Method, Operation: item.GetOperation(req.Method)},
		},
		Status: resp.StatusCode, Header: resp.Header, Body: io.NopCloser(bytes.NewReader(answer)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	})
	if err != nil {
		d.t.Errorf("%s is not as described: %v", what, err)
	}
}

// every makes the request of all addresses: what happens before one is looked at.
func (d *described) every(s setup, code int, header ...string) {
	d.t.Helper()
	for path, item := range d.doc.Paths.Map() {
		for method := range item.Operations() {
			d.visit(s, code, method, path, "", "", header...)
		}
	}
}

// Every answer that openapi.json describes is given by a running controller, as it is
// described.
func TestAnswersAreAsDescribed(t *testing.T) {
	server := redistest.Start(t)
	if testing.Short() {
		t.Skip("builds the agent")
	}
	s := boxOf(t, server.URL(), 2)
	s.adjust(t, "name = \"cam2\"", "request_rate = 1\nname = \"cam2\"")
	s.begin(t)
	s.awaitReady(t, 2)
	_, _, text := s.http1(t, "GET", "/api/v1/openapi.json", "")
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	d := &described{t, doc, map[string]bool{}}
	d.box(s)
	server.Stop()
	eventually(t, "a box that is not ready", func() bool { code, _ := s.health(t); return code == http.StatusServiceUnavailable })
	d.visit(s, 503, "GET", "/readyz", "", "")
	d.visit(s, 200, "GET", "/api/v1/status", "", "")
	d.hanging(s)
	d.guarded()

	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			for code := range operation.Responses.Map() {
				what := method + " " + path + " " + code
				if !d.seen[what] && what != "GET /healthz 503" { // a link that does not move for a minute
					t.Errorf("%s is described, and was not seen", what)
				}
			}
		}
	}
}

// box makes the answers of a box that works.
func (d *described) box(s setup) {
	d.t.Helper()
	for _, path := range []string{"/", "/api/v1/status", "/api/v1/openapi.json", "/healthz", "/readyz", "/metrics"} {
		d.visit(s, 200, "GET", path, "", "")
	}
	d.visit(s, 200, "GET", "/api/v1/events", "?limit=5", "")
	d.visit(s, 400, "GET", "/api/v1/events", "?limit=0", "")
	d.visit(s, 200, "GET", "/cameras/{name}", "", "")
	d.visit(s, 404, "GET", "/cameras/{name}", "!other", "")
	const latest, stream, request = "/cameras/{name}/latest.jpg", "/cameras/{name}/stream.mjpeg", "/cameras/{name}/request"
	d.visit(s, 200, "GET", latest, "?w=32", "")
	d.visit(s, 400, "GET", latest, "?w=wide", "")
	d.visit(s, 404, "GET", latest, "!other", "")
	eventually(d.t, "a picture that is known", func() bool { // until no exposure comes between the two
		_, header, _ := s.http1(d.t, "GET", "/cameras/cam1/latest.jpg", "")
		req, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, "http://"+s.http+"/cameras/cam1/latest.jpg", nil)
		if err != nil {
			d.t.Fatal(err)
		}
		req.Header.Set("If-None-Match", header.Get("Etag"))
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			d.t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusNotModified {
			return false
		}
		d.check("GET "+latest+" 304", latest, req, resp, nil)
		return true
	})
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	d.visit(s, 200, "GET", stream, "?fps=5", "")
	d.visit(s, 400, "GET", stream, "?fps=0", "")
	d.visit(s, 404, "GET", stream, "!other", "")
	d.visit(s, 404, "GET", "/snapshot.jpg", "", "")
	d.visit(s, 404, "GET", "/stream.mjpeg", "", "")
	d.visit(s, 200, "POST", request, "", `{"lot": "A7"}`)
	d.visit(s, 200, "POST", request, "", `{"lot": "A7"}`, "Accept", "application/json")
	d.visit(s, 400, "POST", request, "", `{"lot`)
	d.visit(s, 413, "POST", request, "", `{"lot": "`+strings.Repeat("A", 70000)+`"}`)
	d.visit(s, 404, "POST", request, "!other", `{}`)
	d.visit(s, 403, "POST", request, "", `{}`, "Sec-Fetch-Site", "cross-site")
	eventually(d.t, "too many requests", func() bool {
		code, _, _ := s.http1(d.t, "POST", "/cameras/cam2/request", "{}")
		return code == http.StatusTooManyRequests
	})
	d.visit(s, 429, "POST", request, "!cam2", `{}`)
	d.every(s, 421, "Host", "box.example.com")
}

// hanging makes the answers while an agent hangs.
func (d *described) hanging(s setup) {
	d.t.Helper()
	_, ready := s.health(d.t)
	pid := ready.Agents["cam1"].PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	d.visit(s, 503, "GET", "/cameras/{name}/latest.jpg", "", "")
	d.visit(s, 200, "GET", "/cameras/{name}/latest.jpg", "?stale=1", "")
	d.visit(s, 503, "GET", "/cameras/{name}/stream.mjpeg", "", "")
	d.visit(s, 503, "POST", "/cameras/{name}/request", "", "{}")
}

// guarded makes the answers of a box with one camera and a password.
func (d *described) guarded() {
	d.t.Helper()
	s := boxOf(d.t, "redis://127.0.0.1:1", 1)
	password := filepath.Join(s.dir, "password")
	if err := os.WriteFile(password, []byte("secret\n"), 0o600); err != nil {
		d.t.Fatal(err)
	}
	s.adjust(d.t, "watchdog_timeout", fmt.Sprintf("http_user = \"me\"\nhttp_password_file = %q\nwatchdog_timeout", password))
	s.begin(d.t)
	as := func(password string) *http.Request {
		req, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, "http://"+s.http+"/api/v1/status", nil)
		if err != nil {
			d.t.Fatal(err)
		}
		req.SetBasicAuth("me", password)
		return req
	}
	var ready status.Ready
	eventually(d.t, "a camera behind the password", func() bool {
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(as("secret"))
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return json.NewDecoder(resp.Body).Decode(&ready) == nil && ready.Cameras["cam1"].Capture == "ok"
	})
	right := as("secret").Header.Get("Authorization")
	for _, path := range []string{"/snapshot.jpg", "/stream.mjpeg"} {
		d.visit(s, 200, "GET", path, "?w=32", "", "Authorization", right)
		d.visit(s, 400, "GET", path, "?w=-1", "", "Authorization", right)
	}
	pid := ready.Agents["cam1"].PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		d.t.Fatal(err)
	}
	d.visit(s, 503, "GET", "/snapshot.jpg", "", "", "Authorization", right)
	d.visit(s, 503, "GET", "/stream.mjpeg", "", "", "Authorization", right)
	_ = syscall.Kill(pid, syscall.SIGCONT)
	d.every(s, 401)
	for i := range 10 {
		d.visit(s, 401, "GET", "/healthz", "", "", "Authorization", as(strconv.Itoa(i)).Header.Get("Authorization"))
	}
	d.every(s, 429, "Authorization", right)
}

// The documented calls of curl work as they stand there.
func TestDocumentedCurl(t *testing.T) {
	server := redistest.Start(t)
	if testing.Short() {
		t.Skip("builds the agent")
	}
	s := boxOf(t, server.URL(), 1)
	s.begin(t)
	s.awaitReady(t, 1)
	page, err := os.ReadFile("../../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	calls := regexp.MustCompile(`(?m)^curl .*localhost:8080.*$`).FindAllString(string(page), -1)
	if len(calls) < 7 {
		t.Errorf("found %d calls, want those of status, pictures and requests", len(calls))
	}
	for _, call := range calls {
		run := exec.CommandContext(t.Context(), "sh", "-c", strings.NewReplacer("localhost:8080", s.http, "greencam1", "cam1", "curl ", "curl -fS ").Replace(call))
		run.Dir = s.dir
		out, err := run.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", call, err, out)
		}
		switch {
		case strings.Contains(call, "readyz") && string(out) != "200", strings.Contains(call, "status") && !json.Valid(out):
			t.Errorf("%s: got %s", call, out)
		}
	}
	for _, name := range []string{"now.jpg", "frame.jpg"} {
		if b, err := os.ReadFile(filepath.Join(s.dir, name)); err != nil || !bytes.HasPrefix(b, []byte("\xff\xd8")) {
			t.Errorf("%s is no picture: %.20q, %v", name, b, err)
		}
	}
}
