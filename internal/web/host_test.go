package web

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// A name that somebody else may have pointed at 127.0.0.1 gets nothing, unless a
// password guards the page: no foreign page has that.
func TestForeignNamesAreRefused(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := serve(t, Config{Report: good})
	guarded := serve(t, Config{Report: good, Settings: Settings{HTTPUser: "u", HTTPPasswordFile: password}})
	ask := func(url, host string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		req.SetBasicAuth("u", "secret")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	for host, ours := range map[string]bool{
		"":                         true, // the address itself
		"127.0.0.1":                true,
		"127.0.0.1:8080":           true,
		"[::1]:8080":               true,
		"[::1]":                    true,
		"localhost":                true,
		"LocalHost.:8080":          true,
		"box.localhost:1":          true,
		"mybox:8080":               true,
		"evil.example:8080":        false,
		"evil.example":             false,
		"127.0.0.1.evil.example":   false,
		"localhost.evil.example:1": false,
		"evil.example.":            false,
	} {
		want := http.StatusMisdirectedRequest
		if ours {
			want = http.StatusOK
		}
		if got := ask(open, host); got != want {
			t.Errorf("Host %q: got %d, want %d", host, got, want)
		}
		if got := ask(guarded, host); got != http.StatusOK {
			t.Errorf("Host %q with a password: got %d, want 200", host, got)
		}
	}
}
