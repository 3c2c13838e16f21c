package controller

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/jpeg"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"framekeeper/pkg/frame"
)

// http1 makes one HTTP request of the box.
func (s setup) http1(t *testing.T, method, path, body string) (code int, header http.Header, answer []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.http+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, nil
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, answer
}

// withoutRedis is a box whose Redis was never there.
func withoutRedis(t *testing.T, spoil func(s setup)) setup {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the agent")
	}
	s := newSetup(t, "redis://127.0.0.1:1", "")
	s.useRealAgent(t)
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	more := fmt.Sprintf("[delivery]\nspool_dir = %q\n[[camera]]\nname = \"cam2\"\nsource = \"test:\"\nwidth = 640\nheight = 360\n", s.dir+"/spool")
	if err := os.WriteFile(s.config, append(text, more...), 0o600); err != nil {
		t.Fatal(err)
	}
	spoil(s)
	s.begin(t)
	for _, camera := range []string{"cam1", "cam2"} {
		eventually(t, "a picture of "+camera, func() bool {
			code, _, _ := s.http1(t, "GET", "/cameras/"+camera+"/latest.jpg", "")
			return code == http.StatusOK
		})
	}
	return s
}

// Pictures and answers need no Redis; a camera whose agent hangs is not shown as
// live, and costs its own visitors a moment and the other camera's nothing.
func TestPicturesOfTheBox(t *testing.T) {
	s := withoutRedis(t, func(setup) {})
	_, header, image := s.http1(t, "GET", "/cameras/cam2/latest.jpg?w=160", "")
	m, err := jpeg.Decode(bytes.NewReader(image))
	if err != nil || m.Bounds().Dx() != 160 || m.Bounds().Dy() != 90 || header.Get("X-Frame-Id") == "" || header.Get("Age") != "0" {
		t.Errorf("got %v (%v), %v", m, err, header)
	}
	code, header, image := s.http1(t, "POST", "/cameras/cam2/request", `{"lot": "a7", "angle": 25}`)
	var h frame.Header
	if err := json.Unmarshal([]byte(header.Get("X-Framekeeper-Header")), &h); err != nil || code != http.StatusOK || frame.Checksum(image) != h.CRC32C || !strings.Contains(string(h.Request), `"angle":25`) {
		t.Errorf("got %d, %s (%v), %d bytes", code, header.Get("X-Framekeeper-Header"), err, len(image))
	}

	eventually(t, "the cameras' states, without Redis", func() bool {
		_, h := s.health(t)
		return h.Cameras["cam1"].Capture == "ok" && h.Cameras["cam2"].Capture == "ok" && h.Cameras["cam1"].Link != "LIVE"
	})
	if _, _, page := s.http1(t, "GET", "/", ""); !strings.Contains(string(page), "captures, and waits for Redis") {
		t.Errorf("the page does not show that the cameras work:\n%s", page)
	}
	_, ready := s.health(t)
	pid := ready.Agents["cam1"].PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	began := time.Now()
	code, _, body := s.http1(t, "GET", "/cameras/cam1/latest.jpg", "")
	if took := time.Since(began); code != http.StatusServiceUnavailable || !strings.Contains(string(body), "within 300 ms") || took > 3*time.Second {
		t.Errorf("of a frozen agent: got %d %s after %v", code, body, took)
	}
	code, header, _ = s.http1(t, "GET", "/cameras/cam1/latest.jpg?stale=1", "")
	if code != http.StatusOK || !strings.Contains(header.Get("X-Stale"), "within 300 ms") {
		t.Errorf("the last one of a frozen agent: got %d, %v", code, header)
	}
	if code, _, _ := s.http1(t, "GET", "/cameras/cam2/latest.jpg", ""); code != http.StatusOK {
		t.Errorf("of the other camera: got %d", code)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a picture of the next process", func() bool {
		code, _, _ := s.http1(t, "GET", "/cameras/cam1/latest.jpg", "")
		return code == http.StatusOK
	})
}

// A state_dir that cannot be written has no socket in it, and takes no picture away.
// A file in its place stops root too.
func TestPicturesWithoutStateDir(t *testing.T) {
	s := withoutRedis(t, func(s setup) {
		if err := os.WriteFile(s.state, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	code, _, image := s.http1(t, "POST", "/cameras/cam2/request", `{}`)
	if code != http.StatusOK || len(image) == 0 {
		t.Errorf("a request: got %d %s", code, image)
	}
}
