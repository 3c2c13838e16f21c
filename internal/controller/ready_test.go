package controller

import (
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"framekeeper/internal/status"
)

// health is what /readyz says.
func (s setup) health(t *testing.T) (code int, h status.Ready) {
	t.Helper()
	code, body := s.visit(t, "/readyz")
	if code == 0 {
		return 0, h
	}
	if err := json.Unmarshal(body, &h); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return code, h
}

func (s setup) awaitReady(t *testing.T, cameras int) status.Ready {
	t.Helper()
	var h status.Ready
	began := time.Now()
	eventually(t, "a box that is ready", func() bool {
		var code int
		code, h = s.health(t)
		return code == http.StatusOK && len(h.Cameras) == cameras
	})
	t.Logf("ready with %d cameras after %v", cameras, time.Since(began).Round(time.Millisecond))
	return h
}

// awaitReason waits until /readyz says that the box is not ready, for these
// reasons and no others.
func (s setup) awaitReason(t *testing.T, parts ...string) {
	t.Helper()
	began := time.Now()
	var h status.Ready
	eventually(t, "not to be ready, with "+strings.Join(parts, ", "), func() bool {
		var code int
		code, h = s.health(t)
		return code == http.StatusServiceUnavailable && len(h.Reasons) == len(parts) &&
			!slices.ContainsFunc(parts, func(p string) bool {
				return !slices.ContainsFunc(h.Reasons, func(r string) bool { return strings.Contains(r, p) })
			})
	})
	t.Logf("not ready after %v: %q", time.Since(began).Round(time.Millisecond), h.Reasons)
}

// rewrite changes the configuration and has it taken over.
func (s *scene) rewrite(changes ...string) {
	s.t.Helper()
	text, err := os.ReadFile(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.config, []byte(strings.NewReplacer(changes...).Replace(string(text))), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if _, failure := s.reload(); failure != "" {
		s.t.Fatalf("reload: %s", failure)
	}
}

// However rarely telemetry is published, readiness is of now.
func TestReadinessIsOfNow(t *testing.T) {
	s := newScene(t)
	s.rewrite(`log_interval = "100ms"`, `log_interval = "1h"`, `status_interval = "200ms"`, `status_interval = "1m"`)
	s.awaitReady(t, 2)
	s.rewrite("[[camera]]\nname = \"cam2\"", "[[camera]]\nname = \"cam3\"\nsource = \"test:\"\nwidth = 64\nheight = 48\n[[camera]]\nname = \"cam2\"")
	h := s.awaitReady(t, 3)

	pid := h.Agents["cam2"].PID
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s.awaitReason(t, "cam2 does not report: no sign of life for ")
	if f := s.scrape(t); f.value("camera_ready", "camera=cam2") != 0 || f.value("camera_ready") != 2 {
		t.Errorf("camera_ready: got %v of cam2 and %v in all, want 0 and 2", f.value("camera_ready", "camera=cam2"), f.value("camera_ready"))
	}
	if page := s.page(); !strings.Contains(page, "no sign of life for ") {
		t.Error("the page does not show it")
	}
	if c := s.camera("cam2"); !strings.Contains(c.Trouble, "no sign of life for ") {
		t.Errorf("the command status shows %+v", c)
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if h := s.awaitReady(t, 3); h.Agents["cam2"].PID != pid {
		t.Errorf("got %+v, want the same process: it was not silent for watchdog_timeout", h.Agents["cam2"])
	}

	// What a killed agent said stands in Redis for three minutes. It is not its
	// successor's.
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another process", func() bool {
		code, h := s.health(t)
		if pidNow := h.Agents["cam2"].PID; pidNow == 0 || pidNow == pid {
			return false
		}
		return code == http.StatusOK && h.Cameras["cam2"].Health == status.Healthy
	})
}

// Agents and controller would work happily with whatever Redis is at the address
// of the box's own.
func TestSomebodyElsesRedis(t *testing.T) {
	s := newScene(t)
	s.rewrite("[delivery]", "embedded = true\n[delivery]")
	const foreign = "it is connected to a Redis that is not this box's own"
	s.awaitReason(t, "Redis of this box does not run; its start is tried again: another program listens on "+s.server.Addr(), "cam1 works, but not with the Redis of this box: "+foreign, "cam2 works, but not with the Redis of this box: "+foreign)
	if f := s.scrape(t); f.value("camera_ready") != 0 {
		t.Error("camera_ready is 1")
	}
	if now := s.status(); now.OK || now.Cameras[0].Trouble != foreign {
		t.Errorf("the command status shows %+v", now)
	}
	if text, err := s.ask("--status"); err == nil || !strings.Contains(text, "unknown: "+foreign) || !strings.Contains(text, "redis-server of this box does not run") {
		t.Errorf("--status: got %v and\n%s", err, text)
	}
	s.server.Kill()
	if h := s.awaitReady(t, 2); h.Redis == nil || h.Redis.State != status.ProcessRunning || h.Redis.PID == 0 {
		t.Errorf("got %+v, want the box's own Redis", h.Redis)
	}
}
