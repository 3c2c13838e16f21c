package client

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"framekeeper/internal/cli"
)

// The command serves where it says, without a configuration too.
func TestView(t *testing.T) {
	for name, args := range map[string][]string{
		"with a configuration": nil,
		"with an address":      {"--redis"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "stream", "cam1")
			if args != nil {
				args = append(args, b.redis.URL())
			}
			b.background(append([]string{"view", "--listen", "127.0.0.1:0"}, args...)...)
			b.await("an address", func() bool { return strings.HasSuffix(b.stdout.String(), "/\n") })
			url := strings.TrimSpace(b.stdout.String())
			resp, err := http.Get(url) //nolint:noctx // ends at once
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			http.DefaultClient.CloseIdleConnections()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("%s: got %d", url, resp.StatusCode)
			}
		})
	}
}

func TestViewRefuses(t *testing.T) {
	b := &bench{t: t}
	b.configure("redis://127.0.0.1:1", "stream")
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("word"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args  []string
		want  string
		usage bool
	}{
		{[]string{"--listen", "0.0.0.0:8081"}, `--listen "0.0.0.0:8081": expected a loopback address`, true},
		{[]string{"--listen", ""}, "--listen", true},
		{[]string{"--listen", "nonsense"}, `--listen "nonsense": expected "host:port"`, true},
		{[]string{"--user", "op"}, "--user and --password-file", true},
		{[]string{"--tls-key-file", "x"}, "--tls-cert-file and --tls-key-file", true},
		{[]string{"--camera", "../x"}, "--camera", true},
		{[]string{"--redis", "http://x"}, "redis", true},
		{[]string{"--images", filepath.Join(b.images, "nowhere")}, "folder of images", false},
		{[]string{"--listen", "127.0.0.1:0", "--user", "op", "--password-file", password + "x"}, "password", false},
	} {
		err := b.client(t.Context(), append([]string{"view"}, c.args...)...)
		if err == nil || !strings.Contains(err.Error(), c.want) || cli.IsUsage(err) != c.usage {
			t.Errorf("%q: got %v, want %q", c.args, err, c.want)
		}
	}
}
