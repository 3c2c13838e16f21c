package controller

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/status"
	"framekeeper/internal/web"
)

func TestCameraLines(t *testing.T) {
	const why = "the camera gave up (exit code 3): no frames"
	now := time.Now()
	for _, c := range []struct {
		name   string
		agent  status.Process
		camera status.Reported
		want   []string
	}{
		{"healthy", status.Process{State: status.ProcessRunning, PID: 7, Restarts: 1, LastExit: why}, status.Reported{Health: status.Healthy, Link: "LIVE", Capture: "ok"},
			[]string{"camera      cam1: running, pid 7, for 1 min, 1 restart", "healthy: link LIVE, capture ok, writable", "last end: " + why}},
		{"degraded", status.Process{State: status.ProcessRunning, PID: 7}, status.Reported{Health: status.Degraded, Link: "LIVE", Capture: "ok", Note: "no socket"},
			[]string{"camera      cam1: running, pid 7, for 1 min, 0 restarts", "degraded: no socket"}},
		{"failed", status.Process{State: status.ProcessBackoff, LastExit: why, NextStart: now.Add(5 * time.Second)}, status.Reported{Health: status.Failed, Trouble: why, Advice: "look at it"},
			[]string{"camera      cam1: has ended and is started again, for 1 min, 0 restarts", "failed: " + why, "to do: look at it", "waiting to start it again in 5 s"}},
	} {
		c.agent.Name, c.agent.Since = "cam1", now.Add(-time.Minute)
		for i := range c.want[1:] {
			c.want[i+1] = indent + c.want[i+1]
		}
		if got := cameraLines(c.agent, c.camera, now); !slices.Equal(got, c.want) {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// Whoever looks here and at the page finds a camera in the same place.
func TestStatusKeepsTheOrderOfTheConfiguration(t *testing.T) {
	report := web.Report{Report: status.Report{
		Head: status.Head{Link: status.Link{Live: true}}, Agents: []status.Process{{Name: "zeta"}, {Name: "alpha"}, {Name: "mid"}},
	}}
	s, err := web.Listen(t.Context(), web.Config{Settings: web.Settings{HTTP: "127.0.0.1:0"}, Report: func() web.Report { return report }, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	defer func() { cancel(); <-done }()
	var out strings.Builder
	if err := printStatus(t.Context(), &out, web.Settings{HTTP: s.Addr()}, status.Client{}, false); !errors.Is(err, errUnhealthy) {
		t.Fatalf("got %v, want that not everything is healthy", err)
	}
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^camera +(\w+):`).FindAllStringSubmatch(out.String(), -1) {
		got = append(got, m[1])
	}
	if want := []string{"zeta", "alpha", "mid"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v, in\n%s", got, want, &out)
	}
	old := status.Ready{Agents: map[string]status.Process{"zeta": {}, "alpha": {}}}
	if got := order(&old); !slices.Equal(got, []string{"alpha", "zeta"}) {
		t.Errorf("of a controller that does not tell: got %v, want all, by name", got)
	}
}

// A controller that hangs is not one that must be started.
func TestStatusOfAHangingController(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	_, err = askHealth(t.Context(), web.Settings{HTTP: silent.Addr().String()}, status.Client{})
	if err == nil || !strings.Contains(err.Error(), "does not answer within 3s") || !strings.Contains(err.Error(), "scripts/stop.sh") {
		t.Errorf("got %v, want that it hangs and must be ended", err)
	}
}

// Nor is one that has too many visitors, or another password by now.
func TestStatusOfAControllerThatRefuses(t *testing.T) {
	full, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := full.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	defer func() { _ = full.Close() }()
	_, err = askHealth(t.Context(), web.Settings{HTTP: full.Addr().String()}, status.Client{})
	wantOneLine(t, err, full.Addr().String(), "as many connections as it takes")

	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "old" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer old.Close()
	_, err = askHealth(t.Context(), web.Settings{HTTP: old.Listener.Addr().String(), HTTPUser: "u", HTTPPasswordFile: file}, status.Client{Program: "bin/client", Options: "--config a.toml"})
	wantOneLine(t, err, "another user or password", "bin/client control reload --config a.toml")
}
