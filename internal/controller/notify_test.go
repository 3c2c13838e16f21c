package controller

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"framekeeper/internal/sdnotify"
)

// TestNotify plays systemd: without Redis the controller is ready, says so,
// gives signs of life, and says when it stops.
func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv(sdnotify.EnvSocket, path)
	t.Setenv(sdnotify.EnvWatchdog, "400000")
	next := func() string {
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	s := newSetup(t, "redis://127.0.0.1:1/0", "")
	_, end := s.begin(t)
	beats := 0
	for m := next(); !strings.Contains(m, ": 1 of 1 agents running, link "); m = next() {
		beats++
	}
	for range 3 {
		if m := next(); !strings.Contains(m, sdnotify.Ready) || !strings.Contains(m, sdnotify.Watchdog) {
			t.Errorf("after %d beats got %q, want ready and alive", beats, m)
		}
	}
	s.adjust(t, "[controller]", "[nonsense]\n[controller]")
	hangUp(t)
	eventually(t, "the refusal to be reported, and that the service goes on", func() bool {
		m := next()
		return strings.Contains(m, ", Configuration is refused; the old one stays in force\n") && strings.Contains(m, sdnotify.Ready)
	})
	if err := end(); err != nil {
		t.Error(err)
	}
	m := next()
	for strings.Contains(m, sdnotify.Ready) {
		m = next()
	}
	if m != sdnotify.Stopping {
		t.Errorf("got %q at the end, want %q", m, sdnotify.Stopping)
	}
}
