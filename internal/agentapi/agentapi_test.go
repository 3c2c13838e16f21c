package agentapi

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"framekeeper/pkg/camera"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// agent is a server with the settings of a camera.
type agent struct {
	path string

	mu  sync.Mutex // guards cam
	cam camera.Config
}

func newAgent(t *testing.T, path string) (a *agent, stop func()) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	a = &agent{path: path, cam: camera.Default()}
	a.cam.Name, a.cam.Source = "cam1", "test:"
	s, err := Listen(t.Context(), path, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	s.HandleSettings(a)
	s.Handle("GET /big", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("x"), 100)) })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
	})
	t.Cleanup(stop)
	return a, stop
}

func (a *agent) Settings() Settings {
	a.mu.Lock()
	defer a.mu.Unlock()
	return SettingsOf(&a.cam)
}

func (a *agent) Change(_ context.Context, s Settings) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, err := s.Apply(a.cam)
	if err == nil {
		a.cam = c
	}
	return err
}

func ptr[T any](v T) *T { return &v }

func TestSet(t *testing.T) {
	for name, path := range map[string]string{
		"short": filepath.Join(t.TempDir(), "agent.sock"),
		"long":  filepath.Join(t.TempDir(), strings.Repeat("d", 120), "agent.sock"),
	} {
		t.Run(name, func(t *testing.T) {
			_, stop := newAgent(t, path)
			if info, err := os.Stat(path); err != nil || info.Mode() != os.ModeSocket|0o600 {
				t.Errorf("the socket is %v, %v, want mode 0600", info, err)
			}
			caller := Client{Path: path}
			got, err := caller.Set(t.Context(), Settings{PublishFPS: ptr(7.5), Controls: map[string]int64{"gain": 3}})
			if err != nil || *got.PublishFPS != 7.5 || *got.Quality != 85 || got.Controls["gain"] != 3 {
				t.Errorf("got %+v, %v, want publish_fps 7.5, the old quality and gain 3", got, err)
			}
			_, err = caller.Set(t.Context(), Settings{PublishFPS: ptr(-1.0), Quality: ptr(101)})
			if err == nil || err.Error() != "publish_fps = -1: expected 0 to 1000; quality = 101: expected 1 to 100" {
				t.Errorf("got %v, want both mistakes", err)
			}
			if _, err = caller.Set(t.Context(), Settings{}); err == nil || !strings.Contains(err.Error(), "nothing to set") {
				t.Errorf("got %v, want that nothing is wished for", err)
			}
			if b, err := caller.Get(t.Context(), "/settings", 1000); err != nil || !strings.Contains(string(b), `"publish_fps":7.5`) {
				t.Errorf("got %s, %v, want what was set before", b, err)
			}
			if _, err := caller.Get(t.Context(), "/big", 99); err == nil || !strings.Contains(err.Error(), "more than 99 bytes") {
				t.Errorf("got %v, want a bound", err)
			}
			if _, err := caller.Get(t.Context(), "/nothing", 99); err == nil || !strings.Contains(err.Error(), "404") {
				t.Errorf("got %v, want 404", err)
			}
			stop()
			if _, err := os.Lstat(path); err == nil {
				t.Error("the socket is still there after the end")
			}
			if _, err := caller.Set(t.Context(), Settings{}); !errors.Is(err, ErrNoAgent) {
				t.Errorf("got %v, want ErrNoAgent", err)
			}
		})
	}
}

// A killed agent leaves its socket behind.
func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	dead, err := Listen(t.Context(), path, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	_ = dead.listener.Close()
	if _, err := (Client{Path: path}).Get(t.Context(), "/settings", 1); !errors.Is(err, ErrNoAgent) {
		t.Errorf("a dead agent's socket: got %v, want ErrNoAgent", err)
	}
	newAgent(t, path)
	if _, err := (Client{Path: path}).Get(t.Context(), "/settings", 1000); err != nil {
		t.Error(err)
	}
}

func TestForeignFileStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), path, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("got %v, want that it is no socket", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Error("the file was harmed")
	}
}

// An agent that hangs, or is killed for it, is distinguished from one that refuses.
func TestSilentAgent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	silent, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := (Client{Path: path}).Set(ctx, Settings{}); !errors.Is(err, ErrNoAgent) || !strings.Contains(err.Error(), "in time") {
		t.Errorf("got %v, want ErrNoAgent, and that it was a matter of time", err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for range 2 { // the one above still waits there
			if conn, err := silent.Accept(); err == nil {
				_ = conn.Close()
			}
		}
	})
	if _, err := (Client{Path: path}).Set(t.Context(), Settings{}); !errors.Is(err, ErrNoAgent) || !strings.Contains(err.Error(), "ended meanwhile") {
		t.Errorf("got %v, want ErrNoAgent, and that it ended", err)
	}
}

// A caller that says nothing does not keep the agent from ending.
func TestEndsBesideASilentCaller(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	_, stop := newAgent(t, path)
	conn, err := Client{Path: path}.dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte("POST /settings HTTP/1.1\r\n")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the end took %v", took)
	}
}

func TestReadSettings(t *testing.T) {
	for text, want := range map[string]string{
		`{"publish_fps": 10}`:                 "",
		`{"controls": {"gain": 3}}`:           "",
		`{}`:                                  "",
		`{"fps": 10}`:                         `unknown field "fps"`,
		`{"quality": "high"}`:                 "cannot unmarshal string",
		`{"quality": 8.5}`:                    "cannot unmarshal number 8.5",
		`{"controls": {"gain": 1e99}}`:        "cannot unmarshal number",
		`{} {}`:                               "after top-level value",
		``:                                    "unexpected end",
		`{"a":"` + strings.Repeat("x", 70000): "more than 65536 bytes",
	} {
		_, err := readSettings(strings.NewReader(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.40s: got %v, want %q", text, err, want)
		}
	}
}

func FuzzReadSettings(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(`{"controls":{"":0}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := readSettings(bytes.NewReader(b))
		if err != nil {
			return
		}
		cam := camera.Default()
		cam.Name, cam.Source = "cam1", "test:"
		c, err := s.Apply(cam)
		if err == nil && (c.PublishFPS < 0 || c.PublishFPS > 1000 || c.Quality < 1 || c.Quality > 100) {
			t.Errorf("took %s", b)
		}
	})
}
