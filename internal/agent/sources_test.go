package agent

import (
	"bytes"
	"errors"
	"image"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
)

// TestJPEGsPassThrough: what a command or a web server gives is what Redis
// gets, byte for byte.
func TestJPEGsPassThrough(t *testing.T) {
	testkit.NeedRedis(t)
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 320, 240)), nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "frame.jpg")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/jpeg")
		_, _ = w.Write(b.Bytes())
	}))
	defer web.Close()
	for name, source := range map[string]string{
		"exec": "exec:sh -c 'while cat " + path + "; do sleep 0.02; done'",
		"http": web.URL + "/snapshot",
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t)
			startAgent(t, writeConfig(t, s.URL(), "", "source = \""+source+"\""))
			m := newAsker(t, s.URL()).ask(t, map[string]any{"angle": 25})
			if h := m.Header; h.Encoding != frame.JPEG || h.Width != 320 || h.Height != 240 || !bytes.Equal(m.Image(), b.Bytes()) {
				t.Errorf("the answer is %+v with %d bytes, want %d", h, len(m.Image()), b.Len())
			}
		})
	}
}

// TestSourcesRefused: what is not there or not built in says so, in every build.
func TestSourcesRefused(t *testing.T) {
	for source, want := range map[string]struct {
		kind error
		says string
	}{
		"exec:no-such-program --password hunter2": {camera.ErrNoDevice, "no such program"},
		"http://joe:hunter2@127.0.0.1:1/stream":   {camera.ErrNoDevice, "nothing listens"},
		"nonsense":                                {nil, camera.SourceExpected},
	} {
		cfg := camera.Default()
		cfg.Source = source
		src, err := openSource(t.Context(), cfg)
		if err == nil {
			_ = src.Close()
			t.Errorf("%s was opened", source)
			continue
		}
		if want.kind != nil && !errors.Is(err, want.kind) || !strings.Contains(err.Error(), want.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want %v and %q", source, err, want.kind, want.says)
		}
	}
}
